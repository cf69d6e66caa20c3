"""The folders, accounts and ports of the embedded servers.

Postgres refuses to run as root: started by root, it runs as `nobody`, in a folder that `nobody` can reach. Folders that are not ours keep their modes.
"""

import contextlib
import hashlib
import os
import pwd
import random
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from waggle import machine
from waggle_embedded.child import Account, ServerError
from waggle_embedded.platforms import no_account

SYSTEM_FOLDER: Final = Path("/var/lib/waggle")
PORTS_FROM: Final = 20_000


def server_account(data: Path) -> Account | None:
    """The account that runs Postgres on this data: `nobody` if we are root, otherwise our own (None). Raises ServerError if the data is another user's."""
    account = _nobody() if os.geteuid() == 0 else None
    owner = data.stat().st_uid if data.exists() else None
    if owner not in (None, account.uid if account else os.geteuid()):
        raise ServerError(f"{data} belongs to {_user_name(owner)}: run as that user, or choose another folder with --data-dir")
    return account


def _nobody() -> Account:
    try:
        user = pwd.getpwnam("nobody")
    except KeyError as error:
        raise ServerError(no_account()) from error
    return Account(user.pw_uid, user.pw_gid)


def _user_name(uid: int | None) -> str:
    try:
        return f"the user {pwd.getpwuid(uid or 0).pw_name}"
    except KeyError:
        return f"the user {uid}"


def reachable_folder(folder: Path) -> Path:
    """`folder` itself; for root, if `nobody` cannot reach it, a fixed folder for it below /var/lib/waggle."""
    folder = folder.absolute()
    if os.geteuid() != 0 or any((folder / place).exists() for place in ("cluster", "postgres/cluster")):
        return folder
    account = _nobody()
    if all(_may_enter(path, account) for path in (folder, *folder.parents) if path.exists()):
        return folder
    resolved = str(folder.resolve())
    name = re.sub(r"[^A-Za-z0-9]+", "-", resolved).strip("-")[-40:]
    return SYSTEM_FOLDER / f"{name}-{hashlib.sha256(resolved.encode()).hexdigest()[:8]}"


def _may_enter(folder: Path, account: Account) -> bool:
    info = folder.stat()
    if info.st_uid == account.uid:
        return bool(info.st_mode & stat.S_IXUSR)
    if info.st_gid == account.gid:
        return bool(info.st_mode & stat.S_IXGRP)
    return bool(info.st_mode & stat.S_IXOTH)


def make_folder(folder: Path) -> Path:
    """Create a folder and its missing parents; created by root, `nobody` can pass through them."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    except OSError as error:
        raise ServerError(f"cannot create the folder {folder}: {error.strerror}; choose another with --data-dir") from error
    return folder


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that `nobody` can reach; it is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="waggle-"))
    if os.geteuid() == 0:
        folder.chmod(0o711)
    if reachable_folder(folder) != folder:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="temporary-", dir=make_folder(SYSTEM_FOLDER)))
        folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def choose_port(folder: Path) -> int:
    """The port noted in this folder if it is free, otherwise a new one, which is noted."""
    note = folder / "port"
    with contextlib.suppress(OSError, ValueError):
        port = int(note.read_text())
        if is_free(port):
            return port
    port = free_port()
    note.write_text(f"{port}\n")
    return port


def free_port() -> int:
    """A free port on 127.0.0.1 that the kernel gives to no outgoing connection, so that a restarted server finds it free again."""
    for port in random.sample(range(PORTS_FROM, max(machine.first_ephemeral_port(), PORTS_FROM + 1000)), k=100):
        if is_free(port):
            return port
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True
