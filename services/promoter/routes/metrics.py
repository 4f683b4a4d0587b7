"""What Prometheus is told."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from services.promoter.meters import Meters
from services.promoter.status import Status


def make_router(meters: Meters, status: Status) -> APIRouter:
    """Return the route that Prometheus scrapes."""
    router = APIRouter(tags=["state"])

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Decisions, publications, the outbox and the fleet, in Prometheus's text format."""
        return Response(meters.exposed(await status.overview()), media_type=CONTENT_TYPE_LATEST)

    return router
