"""Dead letters tried again: one by one, or by a bulk retry that is followed to its end; and how groups and bulk retries look."""

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from rich.text import Text

from waggle_cli import lists, names, show, task_views
from waggle_cli.client import Client, Problem, Unreachable, passes
from waggle_cli.progress import progress
from waggle_cli.session import Exit, each
from waggle_cli.shapes import Answer, Json, Redrive
from waggle_cli.words import age, at, count, plain, present, status

LOOK: Final = 0.3  # seconds between two looks at a bulk retry
RUNNING: Final = "running"


def retry_each(api: Client, ids: Sequence[str], payload: str | None, output: str) -> int:
    body = None if payload is None else f'{{"payload": {payload}}}'.encode()
    return each(
        "waggle dlq retry",
        ids,
        lambda id_: lists.one(api.post("dlq", id_, "retry", body=body), output, lambda task: task_views.line("tried again:", task)),
    )


def retry_many(api: Client, wanted: Json, output: str, *, detach: bool, url: str) -> int:
    """Start a bulk retry and, unless it is let go, follow it."""
    answer = api.post("dlq", "retry", body=json.dumps(wanted).encode())
    if "dry_run" in answer.value:
        none = "" if answer.value["matched"] else names.unknown(api, wanted)
        lists.one(answer, output, lambda found: show.say(f"{count(found['matched'], 'dead letter')} would be tried again{none and '.'}{none}"))
        return Exit.OK
    if not detach:
        return follow(api, answer, output, url=url)
    lists.one(answer, output, lambda redrive: show.say(f"bulk retry {redrive['id']} of {count(redrive['matched'], 'dead letter')}: ", status(redrive["state"])))
    if answer.value["state"] == RUNNING:
        _how_to_go_on(answer.value, url)
    return Exit.OK


def follow(api: Client, answer: Answer[Redrive], output: str, *, url: str) -> int:
    """Show a bulk retry's progress until it has ended; Ctrl-C leaves it running."""
    redrive = answer.value
    total = min(redrive["matched"], redrive.get("limit", redrive["matched"]))
    try:
        with progress("trying again", total) as report:
            while redrive["state"] == RUNNING:
                again = redrive["failed_again"]
                report(redrive["retried"] + redrive["skipped"], f"{again:,} failed again" if again else "")
                time.sleep(LOOK)
                answer = _look(api, answer)
                redrive = answer.value
    except KeyboardInterrupt:
        _how_to_go_on(redrive, url)
        raise
    lists.one(answer, output, _ended)
    return Exit.OK if redrive["state"] == "completed" else Exit.REFUSED


def _look(api: Client, before: Answer[Redrive]) -> Answer[Redrive]:
    """How it stands now; as before when the API is away for a moment."""
    try:
        return api.get("dlq", "retries", before.value["id"])
    except (Unreachable, Problem) as error:
        if not passes(error):
            raise
        return before


def _ended(redrive: Redrive) -> None:
    extra = [f"{count(redrive['skipped'], 'was', 'were')} skipped"] if redrive["skipped"] else []
    extra += [f"{redrive['failed_again']:,} failed again"] if redrive["failed_again"] else []
    done = "".join(f", {part}" for part in extra)
    show.say(f"tried {count(redrive['retried'], 'dead letter')} again{done}: ", status(redrive["state"]))
    if redrive.get("reason"):
        show.say(plain(redrive["reason"]))


def _how_to_go_on(redrive: Redrive, url: str) -> None:
    lists.hint("It goes on. Watch it", "dlq", "retries", redrive["id"], "--watch", url=url)
    lists.hint("Stop it", "dlq", "retries", redrive["id"], "--stop", url=url)


def table(redrives: Sequence[Redrive]) -> None:
    """Bulk retries, a line each."""
    moment = present()
    rows = [
        {
            "ID": Text(found["id"]),
            "STATE": status(found["state"]),
            "MATCHED": Text(f"{found['matched']:,}"),
            "RETRIED": Text(f"{found['retried']:,}"),
            "SKIPPED": Text(f"{found['skipped']:,}"),
            "AGAIN": Text(f"{found['failed_again']:,}"),
            "AGE": Text(age(found["created"], moment)),
            "FILTER": plain(_filter(found["filter"])),
        }
        for found in redrives
    ]
    show.table(rows, spare=("SKIPPED", "MATCHED"))


def card(redrive: Redrive) -> None:
    """One bulk retry."""
    moment = present()
    facts = show.fact(
        id=redrive["id"],
        filter=_filter(redrive["filter"]),
        rate=f"{redrive['rate']:g} a second",
        limit=redrive.get("limit"),
        matched=f"{redrive['matched']:,}",
        tried_again=f"{redrive['retried']:,}",
        skipped=f"{redrive['skipped']:,}",
        failed_again=f"{redrive['failed_again']:,}",
        reason=redrive.get("reason"),
        started=at(redrive["created"], moment),
        ended=at(redrive.get("ended_at"), moment),
        by=redrive.get("submitted_by"),
    )
    show.card(Text.assemble(("bulk retry", "bold"), "  ", status(redrive["state"])), facts)


def _filter(given: Json) -> str:
    """A bulk retry's filter as one would say it: `type demo.fail, text no route`."""
    parts = [f"{name.replace('_', ' ')} {' or '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in given.items() if name != "all"]
    return ", ".join(parts) or "all"


def group_table(groups: Sequence[Json]) -> None:
    """Groups of dead letters, a line each."""
    moment = present()
    show.table([_group(found, age(found["last"], moment)) for found in groups], spare=("CODE", "CLASS"))


def _group(found: Any, last: str) -> dict[str, Text]:
    return {
        "FINGERPRINT": plain(found["fingerprint"]),
        "COUNT": Text(f"{found['count']:,}"),
        "TYPE": plain(found["type"]),
        "LAST": Text(last),
        "CODE": plain(found.get("code", "")),
        "CLASS": plain(found.get("error_class", "")),
        "MESSAGE": plain(found.get("message", "")),
    }
