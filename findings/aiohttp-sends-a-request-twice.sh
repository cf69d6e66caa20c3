#!/usr/bin/env bash
# aiohttp: PUT, DELETE and GET are sent a second time by the client itself when the server closes a kept
#   connection.
#
# Versions: aiohttp 3.14.5, Python 3.11.
# Behaviour: On a connection that was used before, the server reads the whole request and closes without an answer. The
#   client opens another connection and sends the request again, with no setting for it. A server that did the
#   work before it closed does it twice. POST is not repeated.
# Output seen:
#   PUT: the server read it 2 times
#   DELETE: the server read it 2 times
#   GET: the server read it 2 times
#   POST: the server read it 1 times
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" aiohttp==3.14.5
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
import asyncio

import aiohttp


async def main():
    seen = []

    async def serve(reader, writer):
        """Answers the first request of all; reads every other one and closes."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head.partition(b" ")[0].decode())
            if len(seen) > 1:
                writer.close()
                return
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    counts = {}
    for method in ("PUT", "DELETE", "GET", "POST"):
        seen.clear()
        async with aiohttp.ClientSession() as session:
            async with session.get(url):
                pass
            try:
                async with session.request(method, url):
                    pass
            except aiohttp.ServerDisconnectedError:
                pass
        counts[method] = len(seen) - 1
        print(f"{method}: the server read it {counts[method]} times")
    server.close()
    if counts != {"PUT": 2, "DELETE": 2, "GET": 2, "POST": 1}:
        raise SystemExit("changed")


asyncio.run(main())
PYTHON
