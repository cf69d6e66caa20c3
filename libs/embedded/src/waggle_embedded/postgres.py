"""An embedded Postgres, kept in one folder: `start(folder)` creates and starts it and returns when it answers; `.url`, `.pid`, `.stop()`.

It listens on 127.0.0.1 only, without a Unix socket, with a generated password. It ends at once when its parent dies (Linux). As root it runs as `nobody`.
Leftovers of a crash (an incomplete cluster, a stale lock file) are replaced; fsync stays on.
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from waggle import machine
from waggle_embedded.binaries import PostgresBinaries, find_postgres
from waggle_embedded.child import Account, Busy, ServerError, ServerProcess, rotate, spawn, until
from waggle_embedded.placement import choose_port, make_folder, reachable_folder, server_account

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "backend_flush_after": "512kB",  # otherwise all commits wait at the end of a checkpoint, up to a second with large payloads
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
}
ENVIRONMENT: Final[Mapping[str, str]] = {
    "LC_ALL": "C",  # the user's locales may not exist here; initdb gets the cluster's
    "PATH": "/usr/bin:/bin",
    # A backend keeps the memory of a large value for the next one: returning it to the kernel each time costs a fifth of an insert of 1 MiB.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "MALLOC_TOP_PAD_": str(4 << 20),
}
PASSWORD_FILE: Final = "password"  # noqa: S105  # the name of a file
START_SECONDS: Final = 120.0
"""Long, because a start may include crash recovery."""
DYING_SECONDS: Final = 15.0


@dataclass(kw_only=True)
class Postgres(ServerProcess):
    """A started Postgres; its data is in the folder `data`."""

    title: ClassVar[str] = "Postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # a fast shutdown
    hurry_signal: ClassVar[signal.Signals] = signal.SIGQUIT  # an immediate one; the next start recovers

    data: Path
    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"postgresql://waggle:{self.password}@127.0.0.1:{self.port}/waggle"

    def answers(self) -> bool:
        lines = _lock_file(self.data)
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"


def start(folder: Path, *, port: int = 0, log: Path | None = None, extra: Mapping[str, str] | None = None) -> Postgres:
    """Start Postgres on the data in `folder` and wait until it answers. Port 0 is the port of the last start, if it is free.

    `extra` are further settings (`{"synchronous_standby_names": …}`). Raises ServerError.
    """
    deadline = time.monotonic() + DYING_SECONDS
    while True:
        try:
            server = launch(folder, port=port, log=log, extra=extra)
            try:
                until(server.ready, START_SECONDS, "the start of Postgres")
            except BaseException:
                server.kill()
                raise
            return server
        except ServerError as error:
            if not _may_pass(error, port) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _may_pass(error: ServerError, port: int) -> bool:
    """Whether another try can help: a killed predecessor is still ending, or another process took the port that was free a moment ago."""
    return isinstance(error, Busy) or "is still in use" in str(error) or (port == 0 and "Address already in use" in str(error))


def launch(folder: Path, *, port: int = 0, log: Path | None = None, extra: Mapping[str, str] | None = None) -> Postgres:
    """As `start`, but without waiting until it answers: poll `ready()`."""
    folder = make_folder(reachable_folder(folder))
    data = folder / "cluster"
    account = server_account(data)
    major = int((data / "PG_VERSION").read_text()) if data.exists() else None
    binaries = find_postgres(account, major)
    if major is None:
        _make_cluster(data, binaries, account)
    _remove_stale_lock(data)
    port = port or choose_port(folder)
    log = log or folder / "postgres.log"
    log_start = rotate(log)
    settings = {**SETTINGS, "port": str(port), **(extra or {})}
    argv: list[str | Path] = [binaries.folder / "postgres", "-D", data, *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items())]
    # An immediate shutdown: the parent was killed, and the write-ahead log has everything that was committed.
    process = spawn(argv, log=log, at_parents_death=signal.SIGQUIT, account=account, env=ENVIRONMENT)
    return Postgres(data=data, port=port, password=(folder / PASSWORD_FILE).read_text(), process=process, log=log, log_start=log_start)


def _make_cluster(data: Path, binaries: PostgresBinaries, account: Account | None) -> None:
    """A new cluster with a database `waggle`, created beside its place and moved there once it is complete."""
    fresh = data.with_name("cluster.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    password_file = _new_password(data.with_name(PASSWORD_FILE))
    if account:  # only these two: a compromised server cannot write to the folder around them
        os.chown(fresh, account.uid, account.gid)
        os.chown(password_file, account.uid, account.gid)
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if binaries.major >= 17 else ["--locale=C.UTF-8"]
    access = ["--username=waggle", f"--pwfile={password_file}", "--auth-host=scram-sha-256", "--auth-local=reject"]
    _run([binaries.folder / "initdb", "-D", fresh, "--encoding=UTF8", *locale, *access], account)
    _run([binaries.folder / "postgres", "--single", "-D", fresh, "postgres"], account, "CREATE DATABASE waggle\n")
    fresh.rename(data)
    folder = os.open(data.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def _new_password(file: Path) -> Path:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(secrets.token_urlsafe(24))
    return file


def _run(argv: list[str | Path], account: Account | None, text: str = "") -> None:
    run = subprocess.run(  # noqa: S603  # our own binaries, no shell
        argv, input=text, capture_output=True, text=True, env=ENVIRONMENT, cwd="/", start_new_session=True, check=False, **(account.options if account else {})
    )
    if run.returncode != 0 or "ERROR:" in run.stderr:
        raise ServerError(f"{Path(argv[0]).name} failed with code {run.returncode}:\n{run.stdout}{run.stderr}".rstrip())


def _lock_file(data: Path) -> list[str]:
    """pid, folder, start time, port, socket folder, address, shared memory, status; [] if there is none."""
    with contextlib.suppress(OSError):
        return (data / "postmaster.pid").read_text().splitlines()
    return []


def _remove_stale_lock(data: Path) -> None:
    """Remove a lock file whose process is gone, or is another program by now (a container soon reuses pids). Raises Busy if it is alive."""
    lines = _lock_file(data)
    if not lines:
        return
    if re.fullmatch(r"\d+", lines[0]) and _runs_on(int(lines[0]), data):
        raise Busy(f"another Postgres, process {lines[0]}, still runs on {data}; stop it with `kill -INT {lines[0]}`, or choose another folder with --data-dir")
    (data / "postmaster.pid").unlink(missing_ok=True)


def _runs_on(pid: int, data: Path) -> bool:
    """Whether this process is a postmaster of this data: its working directory is the data folder."""
    try:
        folder = machine.working_folder(pid)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # another user's process
    if folder is not None:
        return folder == data.resolve()
    try:  # any living process counts
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
