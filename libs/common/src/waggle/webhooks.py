"""Messages to a webhook, signed as Standard Webhooks 1.0 (https://www.standardwebhooks.com) asks.

The receiver checks `webhook-signature` and forgets what it has seen by `webhook-id`: a message that is repeated keeps its id.
"""

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Final

from waggle.settings.shared import SettingsError

PREFIX: Final = "whsec_"
SECONDS: Final = 10.0


class NotTaken(Exception):
    """The webhook did not answer, or not with 2xx. `gone`: it will never take this, or anything."""

    def __init__(self, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.gone = gone


def read_secret(text: str, setting: str = "WAGGLE_ALERT_SECRET") -> bytes:
    """The key of a secret `whsec_…`: 24 to 64 bytes in standard base64, as 1.0 asks. Raises SettingsError."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise SettingsError(f"{setting} must be {PREFIX} and 24 to 64 bytes in base64: `echo {PREFIX}$(openssl rand -base64 32)` makes one")
    return key


def headers(keys: Sequence[bytes], message_id: str, body: bytes, now: float | None = None) -> dict[str, str]:
    """The headers that a message is sent with. It has a signature for each key, so that a receiver may know any of them while a secret is replaced."""
    at = str(int(time.time() if now is None else now))
    signed = f"{message_id}.{at}.".encode() + body
    signatures = ["v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(signatures),
    }


def post(url: str, key: bytes, message_id: str, body: bytes) -> None:
    """Send a message; call it in a thread. Raises NotTaken. Redirects are not followed."""
    import requests  # it takes 8 MB, and most services send none

    try:
        with requests.post(url, data=body, headers=headers([key], message_id, body), timeout=SECONDS, allow_redirects=False, stream=True) as answer:
            status = answer.status_code  # nobody reads the body, however long it is
    except requests.RequestException as error:
        raise NotTaken(f"{type(error).__name__}: {error}"[:500]) from None
    if not 200 <= status <= 299:
        raise NotTaken(f"the webhook answered {status}", gone=status == 410)
