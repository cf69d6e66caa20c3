"""API keys: `wgl_<id>_<secret><check>`, in base62. Pure.

The id, 12 characters, is public. The secret has 30 random characters (178 bits), so a fast hash of it is safe to store. The check is the CRC32 of all
before it as 6 characters: secret scanners find a key by its form and tell it from a random text by its check, without asking us.
"""

import hmac
import re
import secrets
import string
import zlib
from typing import Final, NamedTuple

PREFIX: Final = "wgl"
ID_LENGTH: Final = 12
SECRET_LENGTH: Final = 30
CHECK_LENGTH: Final = 6
PATTERN: Final = rf"{PREFIX}_([0-9A-Za-z]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECK_LENGTH}}})"
"""Also the pattern for secret scanners (docs/security.md)."""

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY: Final = re.compile(PATTERN)
_PURPOSE: Final = b"waggle api keys 1"


class ApiKey(NamedTuple):
    """The parts of a key. `text` is all of it; only its owner keeps that."""

    id: str
    text: str

    def __repr__(self) -> str:
        """Without the secret, so that no log line shows it."""
        return f"ApiKey(id={self.id!r})"


def new(key_id: str | None = None) -> ApiKey:
    """A new key; with an id, a new secret for the key of that id."""
    key_id = key_id or _random(ID_LENGTH)
    start = f"{PREFIX}_{key_id}_{_random(SECRET_LENGTH)}"
    return ApiKey(key_id, start + _check(start))


def parse(text: str) -> ApiKey | None:
    """The key with this text; None if it is none."""
    match = _KEY.fullmatch(text)
    if match is None or _check(text[:-CHECK_LENGTH]) != match[3]:
        return None
    return ApiKey(match[1], text)


class Fingerprints:
    """What is stored of keys: an HMAC under the installation's secret, so that a copy of the table alone cannot be used to test guesses."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), _PURPOSE, "sha256")  # of its own: the same secret serves other purposes, too

    def of(self, text: bytes) -> bytes:
        """32 bytes."""
        return hmac.digest(self._key, text, "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Whether two fingerprints are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)


def instance_secret() -> str:
    """A new secret for an installation (WAGGLE_API_SECRET)."""
    return secrets.token_urlsafe(32)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _check(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
