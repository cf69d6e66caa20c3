"""The data folder of one `waggle up`: created if it is missing, checked, and locked against a second one."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from waggle_embedded.placement import make_folder, temporary_folder


class CannotStart(Exception):
    """`waggle up` cannot start like this; the message says what to change."""


def prepare(stack: ExitStack, data_dir: Path | None, *, ephemeral: bool) -> Path:
    """The data folder, locked until the stack closes. An ephemeral one is deleted then. Raises CannotStart."""
    if ephemeral and data_dir:
        raise CannotStart("--ephemeral deletes all data at the end and --data-dir keeps it: give only one of them")
    data = stack.enter_context(temporary_folder()) if ephemeral else (data_dir or Path(".waggle")).absolute()
    if not data.exists():
        (make_folder(data) / ".gitignore").write_text("*\n")
    check_writable(data, "--data-dir")
    for part in ("run", "logs"):
        make_folder(data / part).chmod(0o700)
    stack.enter_context(_locked(data))
    return data


def check_writable(folder: Path, option: str) -> None:
    """Raises CannotStart."""
    if not folder.is_dir():
        raise CannotStart(f"{folder} is not a folder; choose another with {option}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotStart(f"cannot write to {folder}; choose another with {option}")


def check_port(host: str, port: int) -> None:
    """Raises CannotStart."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise CannotStart(f"the API cannot listen on {host}:{port} ({error.strerror}); choose another port with --port") from None


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """Hold the lock of the data folder; the kernel releases it if we die."""
    with (data / "run" / "lock").open("a+") as lock:
        os.fchmod(lock.fileno(), 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            other = f"another `waggle up` (process {lock.read().strip()}) runs in {data}"
            raise CannotStart(f"{other}; stop it, or choose another folder with --data-dir") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
