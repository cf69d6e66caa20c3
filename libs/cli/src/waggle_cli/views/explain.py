"""Explanations, timelines and log lines for people."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from rich.text import Text

from waggle_cli.rest.shapes import Json, TaskJson, attempts_left_out
from waggle_cli.views import show
from waggle_cli.views.terminal import printable
from waggle_cli.views.words import STYLES, age, count, duration, exact, json_text, plain, present, status, time

LEVELS: Final = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "red"}


def explanation(found: Json) -> None:
    """The sentence, what to do, and what would hold the task next."""
    first, *others = found["reasons"]
    show.say(status(found["status"]), "  ", printable(found["summary"]))
    show.say("  ", Text(printable(first["advice"]), style="dim"))
    for reason in others:
        show.say("  then: ", printable(reason["text"]))
        show.say("        ", Text(printable(reason["advice"]), style="dim"))


def waiting(groups: Sequence[Json]) -> None:
    """What waits, one line for each reason, queue and type; below it what to do."""
    moment = present()
    show.table([_group(group, moment) for group in groups], spare=("FIRST",))
    show.say(f"\n{count(sum(group['tasks'] for group in groups), 'task waits', 'tasks wait')}.")
    for code, advice in {group["code"]: group["advice"] for group in groups}.items():
        show.say("  ", Text(printable(code), style="bold"), f": {printable(advice)}")


def _group(group: Json, moment: datetime) -> dict[str, Text]:
    first = time(group["first"])
    return {
        "REASON": Text(printable(group["code"]) + (f" ({printable(group['breaker'])})" if "breaker" in group else "")),
        "QUEUE": plain(group["queue"]),
        "TYPE": plain(group["type"]),
        "FIRST": Text(f"in {duration(first - moment, short=True)}" if first > moment else f"{age(group['first'], moment)} ago"),
        "TASKS": Text(str(group["tasks"])),
    }


def timeline(task: TaskJson, events: Sequence[Json]) -> Text:
    """The life of a task: when, what, and who or where."""
    start, left_out, rows = time(task["created"]), attempts_left_out(task), []
    for place, event in enumerate(events):
        if place == 1 and left_out:
            rows.append({"AT": Text(""), "+": Text(""), "": Text("…"), "#": Text(f"{count(left_out, 'attempt')} left out", style="dim"), ".": Text("")})
        outcome = event.get("outcome", "")
        name = Text(printable(event["event"] if event["event"] != "ended" else outcome), style=STYLES.get(outcome or event["event"], ""))
        attempt = f"attempt {event['attempt']}" if "attempt" in event else ""
        when, after = Text(exact(event["at"]), style="dim"), f"+{duration(time(event['at']) - start)}"
        rows.append({"AT": when, "+": Text(after), "": name, "#": Text(attempt, style="dim"), ".": Text(printable("  ".join(_notes(event))))})
    return show.untitled(rows, spare=("+",))


def _notes(event: Json) -> Iterator[str]:
    if "by" in event:
        yield f"by {event['by']}"
    if "door" in event:
        yield f"through {event['door']}"
    if "how" in event:
        yield str(event["how"])
    if "seconds" in event:
        yield f"took {duration(timedelta(seconds=event['seconds']))}"
    if event["event"] == "started":
        yield str(event.get("worker_id", ""))
    if "error" in event:
        yield str(event["error"]["message"]).partition("\n")[0]
    if event.get("has_logs"):
        yield "(has logs)"


def log_lines(lines: Sequence[Json], *, many: bool) -> None:
    for line in lines:
        log_line(line, many=many)


def log_line(line: Json, *, many: bool) -> None:
    """A line that a handler logged; `many`: of several attempts."""
    fields = "  ".join(f"{printable(name)}={_value(value)}" for name, value in line.get("fields", {}).items())
    attempt, level = f"#{line['attempt']} " if many else "", Text(f"{printable(line['level']):<8}", style=LEVELS.get(line["level"], ""))
    show.say(Text(f"{exact(line['at'])} {attempt}", style="dim"), level, printable(line["event"]), "  ", Text(fields, style="dim"))


def _value(value: Any) -> str:
    return printable(value) if isinstance(value, str) else str(json_text(value))
