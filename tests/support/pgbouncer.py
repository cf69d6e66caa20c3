"""Debian's PgBouncer in transaction mode, on a free port before a database of the tests."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from waggle_embedded.placement import free_port

INI = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = plain
auth_file = {users}
pool_mode = {mode}
default_pool_size = {size}
ignore_startup_parameters = {ignored}
max_client_conn = 200
"""


@contextmanager
def pgbouncer(url: str, folder: Path, *, mode: str = "transaction", size: int = 4, ignored: str = "extra_float_digits") -> Iterator[str]:
    """The address of a pooler with `size` server connections before the database of `url`."""
    binary = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert binary, "pgbouncer is missing: install the Debian package pgbouncer"
    parts, listen = urlsplit(url), free_port()
    users = folder / f"pgbouncer-{listen}.users"
    users.write_text(f'"{parts.username}" "{parts.password}"\n')
    ini = folder / f"pgbouncer-{listen}.ini"
    ini.write_text(INI.format(host=parts.hostname, port=parts.port, listen=listen, users=users, mode=mode, size=size, ignored=ignored))
    for file in (users, ini):
        file.chmod(0o644)
    with (folder / f"pgbouncer-{listen}.log").open("w") as log:
        process = subprocess.Popen([binary, str(ini)], stdout=log, stderr=log, user=_account())
        try:
            _wait(Path(log.name))
            yield f"postgresql://{parts.username}:{parts.password}@127.0.0.1:{listen}{parts.path}"
        finally:
            process.kill()
            process.wait()


def _account() -> str | None:
    """PgBouncer refuses to run as root."""
    return pwd.getpwnam("nobody").pw_name if os.geteuid() == 0 else None


def _wait(log: Path) -> None:
    deadline = time.monotonic() + 10
    while "process up" not in log.read_text():
        assert time.monotonic() < deadline, f"pgbouncer did not start:\n{log.read_text()}"
        time.sleep(0.02)
