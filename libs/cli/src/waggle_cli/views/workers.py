"""Workers for people."""

from collections.abc import Sequence

from waggle_cli.rest.shapes import Json
from waggle_cli.views import show
from waggle_cli.views.words import age, plain, present, status


def table(workers: Sequence[Json]) -> None:
    moment = present()
    rows = [
        {
            "WORKER": plain(found["id"]),
            "STATE": status("gone" if not found["alive"] else "draining" if found["draining"] else "alive"),
            "RUNNING": plain(f"{found['running']} of {found['concurrency']}"),
            "HOST": plain(f"{found['host']}:{found['pid']}"),
            "VERSION": plain(found["version"]),
            "STARTED": plain(age(found["started_at"], moment)),
            "SEEN": plain(age(found["last_seen"], moment)),
            "QUEUES": plain(", ".join(found["queues"])),
        }
        for found in workers
    ]
    show.table(rows, spare=("HOST", "VERSION", "STARTED"))
