"""Reports: what predictors made of each promotion, and taking back one that speaks against its bundle."""

from services.promoter.cases import case_of_rejection
from services.promoter.ledger.database import Database
from services.promoter.ledger.ledger import AGAINST_THE_BUNDLE
from services.promoter.policy.file import Policies
from services.promoter.promotion import Promoter
from shared.events import ModelRejected, ModelServing
from shared.telemetry import logger

# Reports on another ledger's generations, as after a restore, match no row.
SERVED = """
    UPDATE baton.promotions SET served_at = clock_timestamp()
    WHERE model = %s AND generation = %s AND version = %s AND served_at IS NULL
        AND %s = (SELECT id::text FROM baton.ledger)
"""
REJECTED = """
    INSERT INTO baton.rejections (model, generation, predictor, version, run_id, check_failed, message)
    SELECT model, generation, %s, version, run_id, %s, %s FROM baton.promotions
    WHERE model = %s AND generation = %s AND version = %s AND %s = (SELECT id::text FROM baton.ledger)
    ON CONFLICT DO NOTHING
"""
VOTES = """
    SELECT count(DISTINCT predictor) AS votes FROM baton.rejections
    WHERE model = %s AND generation = %s AND check_failed = ANY(%s)
"""

log = logger(__name__)


class Reports:
    """Keeps reports in the ledger; each may be heard again, and by any of several promoters."""

    def __init__(self, database: Database, policies: Policies, promoter: Promoter) -> None:
        self._database = database
        self._policies = policies
        self._promoter = promoter

    async def serving(self, model: str, event: ModelServing) -> None:
        """Note when the first worker served a generation: only what has served can be gone back to."""
        await self._database.do(SERVED, model, event.generation, event.version, event.ledger)

    async def rejected(self, model: str, event: ModelRejected) -> None:
        """Note a rejection; ask for a rollback once enough predictors agree that the bundle is at fault."""
        report = (event.predictor, event.check, event.message, model, event.generation, event.version, event.ledger)
        await self._database.do(REJECTED, *report)
        (row,) = await self._database.all(VOTES, model, event.generation, list(AGAINST_THE_BUNDLE))
        policy = self._policies.merged(model)
        log.warning(
            "rejected", model=model, version=event.version, by=event.predictor, check=event.check, votes=row["votes"]
        )
        if policy.on_reject != "ignore" and row["votes"] >= policy.reject_quorum:
            await self._promoter.settle(case_of_rejection(model, event))
