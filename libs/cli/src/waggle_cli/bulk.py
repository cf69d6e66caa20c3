"""Many submissions: tasks in batches, each with an idempotency key of its own, so that whatever got no answer is repeated and nothing is doubled.

A file is checked from end to end before anything is sent, by the checks of the API's own door, as far as they need no catalogue.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from waggle import nesting
from waggle.field_errors import UNREADABLE, Findings
from waggle.submission import priority_of, read_one
from waggle_cli.client import Client, Problem, Unreachable, passes
from waggle_cli.shapes import Answer, Page, Task

BATCH_TASKS: Final = 1_000
BATCH_BYTES: Final = (16 << 20) - 1024
LINE_BYTES: Final = 2 << 20  # the API's limit for one task
MOST_TOLD: Final = 20
PATIENCE: Final = 60.0  # seconds that an API that was there is waited for
LONGEST_PAUSE: Final = 5.0

Line = tuple[int, bytes]


class BadLines(Exception):
    """Lines of a file that are no tasks; `told` says for each what is wrong."""

    def __init__(self, told: list[str]) -> None:
        super().__init__(f"{len(told)} lines")
        self.told = told


class Batch(NamedTuple):
    """Tasks that are sent together, and the lines on which they stood."""

    number: int
    body: bytes
    lines: list[int]


class Interrupted(Exception):
    """Some batches were accepted, and then one was not; `cause` is why."""

    def __init__(self, batch: Batch, cause: Unreachable | Problem) -> None:
        super().__init__(str(cause))
        self.batch, self.cause = batch, cause


@contextmanager
def opened(name: str, stdin: BinaryIO) -> Iterator[BinaryIO]:
    """A file that can be read twice; what is none, such as a pipe or `-`, is copied into a temporary one."""
    with stdin if name == "-" else Path(name).open("rb") as source:
        if name != "-" and source.seekable():
            yield source
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.seek(0)
            yield copy


def lines(file: BinaryIO) -> Iterator[Line]:
    """The lines that hold something, with their numbers. One that is longer than a task may be is cut."""
    number = 0
    while text := file.readline(LINE_BYTES + 2):
        number += 1
        rest = text
        while len(rest) > LINE_BYTES and not rest.endswith(b"\n"):  # the remainder of a line that is too long
            rest = file.readline(LINE_BYTES + 2)
        text = text.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else text.strip()
        if text:
            yield number, text


def checked(file: BinaryIO, report: Callable[[int], None]) -> int:
    """How many tasks a file holds; it is at its beginning again. Raises BadLines, which tells up to MOST_TOLD of them."""
    told: list[str] = []
    good = more = 0
    for number, text in lines(file):
        wrong = wrong_with(text)
        if wrong:
            more += len(told) >= MOST_TOLD
            told += [f"line {number}: {wrong}"] if len(told) < MOST_TOLD else []
        good += not wrong
        report(number)
    if told:
        raise BadLines([*told, *([f"… and {more:,} more such lines"] if more else [])])
    file.seek(0)
    return good


def wrong_with(text: bytes) -> str:
    """What is wrong with a task's JSON, or nothing."""
    if len(text) > LINE_BYTES:
        return f"is longer than {LINE_BYTES} bytes"
    findings = Findings()
    try:
        task = read_one(text, findings)
        for name, value in (("payload", task.payload), ("metadata", task.metadata)):
            nesting.check(value)
            if not isinstance(msgspec.json.decode(value), dict | None):
                findings.add(name, "must be an object")
    except UNREADABLE as error:
        return f"is not JSON: {error}"
    try:
        priority_of(task.priority)
    except ValueError as error:
        findings.add("priority", str(error))
    return "; ".join(f"{error.field}: {error.message}" for error in findings.errors)


def batches(tasks: Iterable[Line]) -> Iterator[Batch]:
    """Tasks in batches as large as the API takes them. The same tasks always give the same batches."""
    texts: list[bytes] = []
    at: list[int] = []
    number = size = 0
    for line, text in tasks:
        if texts and (len(texts) == BATCH_TASKS or size + len(text) + 1 > BATCH_BYTES):
            yield Batch(number, _body(texts), at)
            number, size, texts, at = number + 1, 0, [], []
        texts.append(text)
        at.append(line)
        size += len(text) + 1
    if texts:
        yield Batch(number, _body(texts), at)


def _body(texts: list[bytes]) -> bytes:
    return b'{"tasks":[' + b",".join(texts) + b"]}"


def sent(api: Client, tasks: Iterable[Line], key: str) -> Iterator[Answer[Page[Task]]]:
    """Send tasks; gives each batch's answer. Raises Interrupted."""
    for batch in batches(tasks):
        try:
            yield _accepted(api, batch, f"{key}-{batch.number}")
        except (Unreachable, Problem) as error:
            raise Interrupted(batch, error) from error


def _accepted(api: Client, batch: Batch, key: str) -> Answer[Page[Task]]:
    """Send a batch until it is accepted. An API that was never there is not waited for."""
    deadline, pause, unknown = time.monotonic() + PATIENCE, 0.25, batch.number > 0
    while True:
        try:
            return api.submit_batch(batch.body, key)
        except (Unreachable, Problem) as error:
            unknown = unknown or error.unknown
            if not passes(error) or not unknown or time.monotonic() > deadline:
                error.unknown = unknown
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
