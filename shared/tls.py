"""TLS to NATS: whom to trust, and who we are, from files that settings name."""

import ssl
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError

from shared.errors import SettingsError
from shared.settings import BusSettings


def nats_context(settings: BusSettings) -> ssl.SSLContext | None:
    """Return what a connection to NATS is checked and encrypted with, None where it is plain.

    Raise `SettingsError` if a file cannot be used.
    """
    if not settings.nats_is_encrypted:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.nats_tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"BATON_NATS_TLS_CA: {settings.nats_tls_ca} is no file of certificates: {error}") from error
    if settings.nats_tls_cert:
        try:
            context.load_cert_chain(settings.nats_tls_cert, settings.nats_tls_key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"BATON_NATS_TLS_CERT, BATON_NATS_TLS_KEY: {settings.nats_tls_cert} is no certificate with its key: "
                f"{error}"
            ) from error
    return context


class EncryptedClient(Client):
    """A client that says nothing to a server that offers no TLS where it was to be encrypted."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if self.options.get("tls") and not info.get("tls_required"):
            raise UnencryptedError
        await super()._process_info(info, initial_connection)


class UnencryptedError(NatsError):
    """The server offers no TLS."""

    def __str__(self) -> str:
        return "it offers no TLS"
