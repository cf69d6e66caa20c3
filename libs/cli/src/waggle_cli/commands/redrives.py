"""Retries of dead letters: one by one, or a bulk retry that is followed to its end."""

import time
from collections.abc import Sequence
from typing import Final

import msgspec

from waggle_cli.commands.session import Exit, each
from waggle_cli.rest.client import Api
from waggle_cli.rest.errors import ApiError, Unreachable, may_pass
from waggle_cli.rest.shapes import Json, RedriveJson, Reply
from waggle_cli.views import lists, names, redrives, show, tasks
from waggle_cli.views.progress import progress
from waggle_cli.views.words import count, status

PROGRESS_POLL_SECONDS: Final = 0.3
RUNNING: Final = "running"


def retry_each(api: Api, ids: Sequence[str], payload: str | None, output: str) -> int:
    body = None if payload is None else f'{{"payload": {payload}}}'.encode()
    return each(
        "waggle dlq retry",
        ids,
        lambda id_: lists.one(api.post("dlq", id_, "retry", body=body), output, lambda task: tasks.line("retried", task)),
    )


def retry_many(api: Api, wanted: Json, output: str, *, detach: bool, url: str) -> int:
    """Start a bulk retry and, unless detached, follow it."""
    answer = api.post("dlq", "retry", body=msgspec.json.encode(wanted))
    if "dry_run" in answer.value:
        none = "" if answer.value["matched"] else names.unknown(api, wanted)
        lists.one(answer, output, lambda found: redrives.would(found, none))
        return Exit.OK
    if not detach:
        return follow(api, answer, output, url=url)
    lists.one(answer, output, lambda redrive: show.say(f"bulk retry {redrive['id']} of {count(redrive['matched'], 'dead letter')}: ", status(redrive["state"])))
    if answer.value["state"] == RUNNING:
        _next_steps(answer.value, url)
    return Exit.OK


def follow(api: Api, answer: Reply[RedriveJson], output: str, *, url: str) -> int:
    """Show the progress of a bulk retry until it has ended. Ctrl-C leaves it running."""
    redrive = answer.value
    total = min(redrive["matched"], redrive.get("limit", redrive["matched"]))
    try:
        with progress("retrying", total) as report:
            while redrive["state"] == RUNNING:
                again = redrive["failed_again"]
                report(redrive["retried"] + redrive["skipped"], f"{again:,} failed again" if again else "")
                time.sleep(PROGRESS_POLL_SECONDS)
                answer = _poll(api, answer)
                redrive = answer.value
    except KeyboardInterrupt:
        _next_steps(redrive, url)
        raise
    lists.one(answer, output, redrives.ended)
    return Exit.OK if redrive["state"] == "completed" else Exit.REFUSED


def _poll(api: Api, before: Reply[RedriveJson]) -> Reply[RedriveJson]:
    """Its state now; during an outage of the API, the state before."""
    try:
        return api.get("dlq", "retries", before.value["id"])
    except (Unreachable, ApiError) as error:
        if not may_pass(error):
            raise
        return before


def _next_steps(redrive: RedriveJson, url: str) -> None:
    lists.hint("It keeps running. Watch it", "dlq", "retries", redrive["id"], "--watch", url=url)
    lists.hint("Stop it", "dlq", "retries", redrive["id"], "--stop", url=url)
