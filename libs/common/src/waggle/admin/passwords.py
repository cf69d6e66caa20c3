"""Passwords of users: argon2id, with the parameters of OWASP's cheat sheet (19 MiB, two passes, one lane). Slow on purpose: call it in a thread."""

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST: Final = 12
LONGEST: Final = 256  # hashing a longer one costs no more, but reading it does

_hasher: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
NOBODYS: Final = "$argon2id$v=19$m=19456,t=2,p=1$w+sesQMLe8bAti/fWZGeKw$wQs7mqhDirJckO1/ecLA7Tjoiqc0BmHL46EAbVzwG7Y"
"""Of no password that a user has: what is verified for a user who does not exist, so that it takes as long."""


def hashed(password: str) -> str:
    """The hash with its parameters and salt, as text."""
    return _hasher.hash(password)


def fits(stored: str, password: str) -> bool:
    """Whether this is the password of a stored hash."""
    try:
        return bool(_hasher.verify(stored, password))
    except (VerificationError, InvalidHashError):
        return False
