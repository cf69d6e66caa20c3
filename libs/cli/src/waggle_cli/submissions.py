"""`waggle tasks submit` with --count or --file: many tasks, their progress, and how to go on when not all were accepted."""

import re
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import repeat
from typing import Any, Final

from waggle_cli import bulk, lists, show
from waggle_cli.client import Client
from waggle_cli.progress import Report, progress
from waggle_cli.session import Exit, exit_code, fail, session, tell
from waggle_cli.shapes import Answer
from waggle_cli.terminal import printable
from waggle_cli.words import count, duration

COMMAND: Final = "waggle tasks submit"
TOLD_EVERY: Final = 1_000
_in_batch: Final = re.compile(r"^tasks\[(\d+)\]\.?")


def copies(body: bytes, number: int, key: str, output: str, url: str) -> int:
    """Submit the same task several times."""
    with session(COMMAND, url) as api:
        return _send(api, ((index + 1, text) for index, text in enumerate(repeat(body, number))), number, key, output, "task")


def file(name: str, key: str, output: str, url: str) -> int:
    """Submit the tasks of a file, one JSON object a line. Nothing is sent when one of the lines is no task."""
    try:
        with bulk.opened(name, sys.stdin.buffer) as lines, session(COMMAND, url) as api:
            with progress("checking", None) as report:
                total = bulk.checked(lines, lambda number: None if number % TOLD_EVERY else report(number, count(number, "line")))
            if not total:
                fail(COMMAND, f"{_called(name)} holds no tasks")
            return _send(api, bulk.lines(lines), total, key, output, _called(name))
    except OSError as error:
        fail(COMMAND, f"cannot read {_called(name)}: {error.strerror}")
    except bulk.BadLines as error:
        print(f"{COMMAND}: nothing was sent, because {_called(name)} has lines that are no tasks:", file=sys.stderr)
        print("\n".join(f"  {printable(told)}" for told in error.told), file=sys.stderr)
        return Exit.USAGE


def _called(name: str) -> str:
    return "standard input" if name == "-" else name


def _send(api: Client, tasks: Iterable[bulk.Line], total: int, key: str, output: str, what: str) -> int:
    """Send tasks; tell how it ended."""
    done, known, started = 0, 0, time.monotonic()

    def counted(report: Report) -> Iterator[Answer[Any]]:
        nonlocal done, known
        for answer in bulk.sent(api, tasks, key):
            done += len(answer.value["items"])
            known += len(answer.value["items"]) if answer.status == 200 else 0
            report(done, "")
            yield answer

    try:
        with progress("submitting", total) as report:
            _shown(counted(report), output)
    except bulk.Interrupted as stop:
        return _stopped(stop, done, total, key, what)
    except KeyboardInterrupt:
        _go_on(done, total, key)
        raise
    if output == "table":
        took = duration(timedelta(seconds=time.monotonic() - started))
        show.say(f"submitted {count(total, 'task')} in {took}" + (f"; {known:,} of them were there already" if known else ""))
    return Exit.OK


def _shown(answers: Iterator[Answer[Any]], output: str) -> None:
    match output:
        case "json":
            lists.merged(answers)
        case "jsonl":
            lists.lines(answers)
        case _:
            for _ in answers:
                pass


def _stopped(stop: bulk.Interrupted, done: int, total: int, key: str, what: str) -> int:
    """Say why it ended: the API numbers the tasks of a batch, people the lines of their file."""
    cause = stop.cause
    errors = getattr(cause, "errors", [])
    if errors:
        cause.errors = [(_line(field, stop.batch, what), message) for field, message in errors[: bulk.MOST_TOLD]]  # type: ignore[union-attr]  # a Problem
    tell(COMMAND, cause)
    _go_on(done, total, key, unknown=cause.unknown)
    return exit_code(cause)


def _line(field: str, batch: bulk.Batch, what: str) -> str:
    found = _in_batch.match(field)
    if found is None:
        return field
    rest = field[found.end() :]
    return f"{what} {batch.lines[int(found[1])]}, {rest}" if what == "task" else f"{what}, line {batch.lines[int(found[1])]}, {rest}"


def _go_on(done: int, total: int, key: str, *, unknown: bool = True) -> None:
    """How to repeat it without doubling a task."""
    if done or unknown:
        print(f"{done:,} of {count(total, 'task')} were accepted. Repeat the command with --idempotency-key {key} to submit only the others.", file=sys.stderr)
