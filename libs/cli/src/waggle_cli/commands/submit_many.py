"""`waggle tasks submit` with --count or --file: many tasks, their progress, and how to continue if not all were accepted."""

import re
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import repeat
from typing import Any, Final

from waggle_cli.commands.session import Exit, exit_code, fail, print_error, session
from waggle_cli.rest import submissions
from waggle_cli.rest.client import Api
from waggle_cli.rest.shapes import Reply
from waggle_cli.views import lists, show
from waggle_cli.views.progress import Report, progress
from waggle_cli.views.terminal import printable
from waggle_cli.views.words import count, duration

COMMAND: Final = "waggle tasks submit"
PROGRESS_EVERY: Final = 1_000
_in_batch: Final = re.compile(r"^tasks\[(\d+)\]\.?")


def copies(body: bytes, number: int, key: str, output: str, url: str) -> int:
    """Submit copies of one task."""
    with session(COMMAND, url) as api:
        return _send(api, ((index + 1, text) for index, text in enumerate(repeat(body, number))), number, key, output, "task")


def file(name: str, key: str, output: str, url: str) -> int:
    """Submit the tasks of a file, one JSON object per line. If a line is invalid, nothing is sent."""
    try:
        with submissions.opened(name, sys.stdin.buffer) as lines, session(COMMAND, url) as api:
            with progress("checking", None) as report:
                total = submissions.checked(lines, lambda number: None if number % PROGRESS_EVERY else report(number, count(number, "line")))
            if not total:
                fail(COMMAND, f"{_called(name)} holds no tasks")
            return _send(api, submissions.lines(lines), total, key, output, _called(name))
    except OSError as error:
        fail(COMMAND, f"cannot read {_called(name)}: {error.strerror}")
    except submissions.BadLines as error:
        print(f"{COMMAND}: nothing was sent, because {_called(name)} has invalid lines:", file=sys.stderr)
        print("\n".join(f"  {printable(reason)}" for reason in error.reasons), file=sys.stderr)
        return Exit.USAGE


def _called(name: str) -> str:
    return "standard input" if name == "-" else name


def _send(api: Api, tasks: Iterable[submissions.Line], total: int, key: str, output: str, what: str) -> int:
    """Send tasks and report the result; the exit code."""
    done, known, started = 0, 0, time.monotonic()

    def counted(report: Report) -> Iterator[Reply[Any]]:
        nonlocal done, known
        for answer in submissions.sent(api, tasks, key):
            done += len(answer.value["items"])
            known += len(answer.value["items"]) if answer.status == 200 else 0
            report(done, "")
            yield answer

    try:
        with progress("submitting", total) as report:
            _print(counted(report), output)
    except submissions.Interrupted as stop:
        return _stopped(stop, done, total, key, what)
    except KeyboardInterrupt:
        _how_to_continue(done, total, key)
        raise
    if output == "table":
        took = duration(timedelta(seconds=time.monotonic() - started))
        show.say(f"submitted {count(total, 'task')} in {took}" + (f"; {known:,} of them already existed" if known else ""))
    return Exit.OK


def _print(answers: Iterator[Reply[Any]], output: str) -> None:
    match output:
        case "json":
            lists.merged(answers)
        case "jsonl":
            lists.lines(answers)
        case _:
            for _ in answers:
                pass


def _stopped(stop: submissions.Interrupted, done: int, total: int, key: str, what: str) -> int:
    """Report why it ended. The API numbers the tasks of a batch; people count the lines of their file."""
    cause = stop.cause
    errors = getattr(cause, "errors", [])
    if errors:
        cause.errors = [(_line(field, stop.batch, what), message) for field, message in errors[: submissions.REPORT_LIMIT]]  # type: ignore[union-attr]  # an ApiError
    print_error(COMMAND, cause)
    _how_to_continue(done, total, key, unknown=cause.unknown)
    return exit_code(cause)


def _line(field: str, batch: submissions.LineBatch, what: str) -> str:
    found = _in_batch.match(field)
    if found is None:
        return field
    rest = field[found.end() :]
    return f"{what} {batch.lines[int(found[1])]}, {rest}" if what == "task" else f"{what}, line {batch.lines[int(found[1])]}, {rest}"


def _how_to_continue(done: int, total: int, key: str, *, unknown: bool = True) -> None:
    """How to repeat the command without doubling a task."""
    if done or unknown:
        print(f"{done:,} of {count(total, 'task')} were accepted. Repeat the command with --idempotency-key {key} to submit only the others.", file=sys.stderr)
