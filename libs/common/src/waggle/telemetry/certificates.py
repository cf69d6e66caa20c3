"""When the certificates end that this service serves with or sees. A server whose certificate is not checked shows none."""

import ssl
from datetime import datetime
from typing import Any, Final

from waggle.telemetry import catalogue

EXPIRY: Final = catalogue.CERTIFICATE_EXPIRY.create()


def note_peer(server: str, connection: Any) -> None:
    """Note the certificate of the other side of a connection; `connection` is its ssl object, None without TLS."""
    found = connection.getpeercert() if connection is not None else None
    if found and "notAfter" in found:
        EXPIRY.labels(server).set(ssl.cert_time_to_seconds(found["notAfter"]))


def note_own(server: str, ends: datetime) -> None:
    """Note the end of a certificate that this service serves with."""
    EXPIRY.labels(server).set(ends.timestamp())
