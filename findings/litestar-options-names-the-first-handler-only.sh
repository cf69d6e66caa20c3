#!/usr/bin/env bash
# Litestar: the answer to OPTIONS names only the methods of the handler that was registered first at a path.
#
# Versions: litestar 2.25.0, Python 3.11.
# Behaviour: GET and POST of one path are two handlers, as the documentation shows. OPTIONS names the methods of the first
#   one only; the Allow header of a 405 has them all.
# Output seen:
#   OPTIONS /things: allow = GET, OPTIONS
#   DELETE /things: 405, allow = GET, OPTIONS, POST
#   POST /things: 201
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" litestar==2.25.0 httpx==0.28.1
"$folder/venv/bin/python" -W ignore - "$folder" <<'PYTHON'
from litestar import Litestar, get, post
from litestar.testing import TestClient


@get("/things")
async def read() -> str:
    return ""


@post("/things")
async def create() -> str:
    return ""


with TestClient(Litestar([read, create], logging_config=None)) as client:
    options, refused, made = client.options("/things"), client.delete("/things"), client.post("/things")
print("OPTIONS /things: allow =", options.headers["allow"])
print(f"DELETE /things: {refused.status_code}, allow = {refused.headers['allow']}")
print("POST /things:", made.status_code)
if "POST" in options.headers["allow"]:
    raise SystemExit("changed: all methods are named")
PYTHON
