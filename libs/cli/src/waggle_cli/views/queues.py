"""Queues, and the figures of one, for people."""

from collections.abc import Sequence
from datetime import timedelta

from rich.text import Text

from waggle_cli.rest.shapes import Json, QueueJson
from waggle_cli.views import show
from waggle_cli.views.words import duration, plain, status


def table(queues: Sequence[QueueJson]) -> None:
    rows = [
        {
            "QUEUE": plain(found["name"]),
            "READY": plain(f"{found['ready']:,}"),
            "LATER": plain(f"{found['later']:,}"),
            "RUNNING": plain(f"{found['running']:,}"),
            "STATE": status("paused") if found["paused"] else plain("open to workers", "dim"),
        }
        for found in queues
    ]
    show.table(rows)


def card(queue: QueueJson) -> None:
    rows = [
        {"LANE": plain(name), **{title: plain(f"{depth[title.lower()]:,}") for title in ("READY", "LATER", "RUNNING")}}
        for name, depth in queue["lanes"].items()
    ]
    facts = show.fact(ready=f"{queue['ready']:,}", later=f"{queue['later']:,}", running=f"{queue['running']:,}")
    state = Text.assemble("  ", status("paused")) if queue["paused"] else ""
    show.card(Text.assemble(plain(queue["name"], "bold"), state), facts, Text(""), show.grid(rows, 60))


def stats(stats: Json) -> None:
    def length(seconds: float) -> str:
        return duration(timedelta(seconds=seconds))

    facts = show.fact(
        over=f"the last {length(stats['window'])}",
        came_in=f"{stats['tasks_enqueued']:,}",
        completed=f"{stats['tasks_completed']:,}",
        failed=f"{stats['tasks_failed']:,}",
        error_rate=f"{stats['error_rate']:.1%}",
        mean_time=length(stats["processing_time"]) if stats.get("processing_time") is not None else "",
        waiting=f"{stats['queue_length']:,}",
        workers=f"{stats['active_workers']:,}",
    )
    show.card(plain(stats["queue"], "bold"), facts)
