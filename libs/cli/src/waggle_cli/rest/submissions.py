"""Many submissions: tasks in batches, each with its own idempotency key, so that a batch without an answer can be sent again and no task is doubled.

A file is checked from start to end before anything is sent, with the API's own checks as far as they need no catalogue.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from waggle.field_errors import Unreadable
from waggle.submission import check, read_task
from waggle_cli.rest.client import Api
from waggle_cli.rest.errors import ApiError, Unreachable, may_pass
from waggle_cli.rest.shapes import PageJson, Reply, TaskJson

BATCH_TASKS: Final = 1_000
BATCH_BYTES: Final = (16 << 20) - 1024
LINE_BYTES: Final = 2 << 20  # the API's limit for one task
REPORT_LIMIT: Final = 20
API_OUTAGE_SECONDS: Final = 60.0  # how long an outage is waited out, once the API has answered
LONGEST_PAUSE_SECONDS: Final = 5.0

Line = tuple[int, bytes]


class BadLines(Exception):
    """Lines of a file that are not valid tasks; `reasons` says for each what is wrong."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(f"{len(reasons)} lines")
        self.reasons = reasons


class LineBatch(NamedTuple):
    """Tasks that are sent together, and their line numbers."""

    number: int
    body: bytes
    lines: list[int]


class Interrupted(Exception):
    """A batch was not accepted; `cause` is why. The batches before it were."""

    def __init__(self, batch: LineBatch, cause: Unreachable | ApiError) -> None:
        super().__init__(str(cause))
        self.batch, self.cause = batch, cause


@contextmanager
def opened(name: str, stdin: BinaryIO) -> Iterator[BinaryIO]:
    """A file that can be read twice; a pipe, or standard input (`-`), is copied into a temporary file."""
    with stdin if name == "-" else Path(name).open("rb") as source:
        if name != "-" and source.seekable():
            yield source
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.seek(0)
            yield copy


def lines(file: BinaryIO) -> Iterator[Line]:
    """The lines that are not empty, with their numbers. A line longer than the limit for a task is cut."""
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
    """How many tasks a file holds; afterwards it can be read from its start. Raises BadLines, with reasons for up to REPORT_LIMIT lines."""
    reasons: list[str] = []
    good = more = 0
    for number, text in lines(file):
        wrong = wrong_with(text)
        if wrong:
            more += len(reasons) >= REPORT_LIMIT
            reasons += [f"line {number}: {wrong}"] if len(reasons) < REPORT_LIMIT else []
        good += not wrong
        report(number)
    if reasons:
        raise BadLines([*reasons, *([f"… and {more:,} more such lines"] if more else [])])
    file.seek(0)
    return good


def wrong_with(text: bytes) -> str:
    """What is wrong with a task's JSON; empty if it is valid."""
    if len(text) > LINE_BYTES:
        return f"is longer than {LINE_BYTES} bytes"
    try:
        errors = check(read_task(text)).errors
    except Unreadable as error:
        return str(error)
    return "; ".join(f"{error.field}: {error.message}" for error in errors)


def batches(tasks: Iterable[Line]) -> Iterator[LineBatch]:
    """Tasks in batches as large as the API accepts. The same tasks always give the same batches."""
    texts: list[bytes] = []
    at: list[int] = []
    number = size = 0
    for line, text in tasks:
        if texts and (len(texts) == BATCH_TASKS or size + len(text) + 1 > BATCH_BYTES):
            yield LineBatch(number, _body(texts), at)
            number, size, texts, at = number + 1, 0, [], []
        texts.append(text)
        at.append(line)
        size += len(text) + 1
    if texts:
        yield LineBatch(number, _body(texts), at)


def _body(texts: list[bytes]) -> bytes:
    return b'{"tasks":[' + b",".join(texts) + b"]}"


def sent(api: Api, tasks: Iterable[Line], key: str) -> Iterator[Reply[PageJson[TaskJson]]]:
    """Send tasks; yields the reply to each batch. Raises Interrupted."""
    for batch in batches(tasks):
        try:
            yield _accepted(api, batch, f"{key}-{batch.number}")
        except (Unreachable, ApiError) as error:
            raise Interrupted(batch, error) from error


def _accepted(api: Api, batch: LineBatch, key: str) -> Reply[PageJson[TaskJson]]:
    """Send a batch until it is accepted. If the API never answered, the first failure ends it."""
    deadline, pause, unknown = time.monotonic() + API_OUTAGE_SECONDS, 0.25, batch.number > 0
    while True:
        try:
            return api.submit_batch(batch.body, key)
        except (Unreachable, ApiError) as error:
            unknown = unknown or error.unknown
            if not may_pass(error) or not unknown or time.monotonic() > deadline:
                error.unknown = unknown
                raise
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
