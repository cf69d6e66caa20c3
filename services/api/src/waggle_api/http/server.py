"""uvicorn inside the service: the service owns the signals, and a stop gives open requests a limited time to finish."""

import asyncio
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import structlog
import uvicorn
from cryptography import x509
from litestar.types import ASGIApp

from waggle.settings.shared import SettingsError
from waggle.telemetry import certificates
from waggle_api.http import protocol
from waggle_api.http.connections import Connections

log = structlog.get_logger()

CERTIFICATE_SECONDS: Final = 60.0  # between two looks whether it was renewed
KEEP_ALIVE_SECONDS: Final = 75  # longer than the idle time of usual proxies, so that they close first


class Certificate(NamedTuple):
    """The PEM files of a certificate (with those that lead to its root) and its private key."""

    chain: Path
    key: Path

    @property
    def written(self) -> tuple[float, float]:
        """When each file was. Raises OSError."""
        return self.chain.stat().st_mtime, self.key.stat().st_mtime

    def load(self, context: ssl.SSLContext) -> None:
        """Raises OSError or ValueError, and may leave half of it in the context."""
        context.load_cert_chain(self.chain, self.key, password=_no_passphrase)
        certificates.note_own("api", x509.load_pem_x509_certificates(self.chain.read_bytes())[0].not_valid_after_utc)


def certificate(chain: str, key: str) -> Certificate | None:
    """That of the settings, None without one. Raises SettingsError."""
    if not chain and not key:
        return None
    if not chain or not key:
        raise SettingsError("WAGGLE_API_TLS_CERT and WAGGLE_API_TLS_KEY belong together")
    found = Certificate(Path(chain), Path(key))
    try:
        found.load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise SettingsError(f"WAGGLE_API_TLS_CERT {chain} and WAGGLE_API_TLS_KEY {key} cannot be used: {error}") from error
    return found


def _no_passphrase() -> str:
    """Without it, a key with a passphrase would ask for it on the terminal."""
    raise ValueError("the key has a passphrase")


class Server:
    """`serve()` is its loop; `stop()` ends it. With a certificate it speaks TLS only. Raises WrongVersion if another uvicorn is installed."""

    def __init__(self, app: ASGIApp, listener: socket.socket, connections: Connections, grace: float, tls: Certificate | None = None) -> None:
        protocol.require()
        config = uvicorn.Config(
            app,
            http=partial(protocol.BoundedProtocol, connections),  # type: ignore[arg-type]  # it is called as the class is
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(grace)),
            ssl_certfile=tls and tls.chain,
            ssl_keyfile=tls and str(tls.key),
        )
        config.load()
        self._tls, self._context = tls, config.ssl
        self._server = protocol.SignallessServer(config)
        self._listener = listener
        self._ended = asyncio.Event()

    async def serve(self) -> None:
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            self._ended.set()

    async def keep_certificate(self) -> None:
        """Serve new connections with the certificate that the files hold now."""
        if self._tls is None or self._context is None:
            return
        known = self._tls.written
        while True:
            await asyncio.sleep(CERTIFICATE_SECONDS)
            try:
                if (now := self._tls.written) == known:
                    continue
                self._tls.load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # it may be half written: a new certificate with the key before it
                self._tls.load(self._context)
            except (OSError, ValueError) as error:
                log.warning("certificate cannot be read, going on with the one before", error=str(error))
            else:
                known = now
                log.info("certificate read again")

    async def stop(self) -> None:
        """Accept no more connections, finish open requests, and return once all are done or the grace period is over."""
        self._server.should_exit = True
        await self._ended.wait()
