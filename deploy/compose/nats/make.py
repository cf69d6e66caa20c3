"""Writes nats.conf for the three nodes of deploy/compose.yaml: `uv run just dashboards`. Passwords come from the environment of the servers."""

from pathlib import Path
from typing import Final

from waggle.bus import users

HERE: Final = Path(__file__).parent
HEADER: Final = """\
# Made by deploy/compose/nats/make.py: a test holds this file to it. Each node sets NATS_NAME, and all of them the passwords.
server_name: $NATS_NAME
listen: 0.0.0.0:4222
http: 0.0.0.0:8222
max_payload: 4MB
jetstream { store_dir: "/data" }
cluster {
  name: waggle
  listen: 0.0.0.0:6222
  authorization { user: cluster, password: $NATS_CLUSTER_PASSWORD }
  routes: [$NATS_ROUTE_1, $NATS_ROUTE_2, $NATS_ROUTE_3]
}
"""


def page() -> str:
    """The whole file."""
    return HEADER + users.account({name: f"$NATS_{name.upper()}_PASSWORD" for name in users.USERS}, "16G")


if __name__ == "__main__":
    (HERE / "nats.conf").write_text(page())
