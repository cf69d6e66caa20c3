"""The thread that writes the log: it waits for nobody, loses nothing while its output works, and says what it lost."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from select import PIPE_BUF

import pytest

from waggle.telemetry import log_writer
from waggle.telemetry.log_writer import LogWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with suppress(OSError):
            os.close(end)


def read_lines(reader: int, count: int) -> list[str]:
    found = b""
    while found.count(b"\n") < count:
        found += os.read(reader, 1 << 20)
    return found.decode().splitlines()


def test_lines_come_out_in_their_order(folder_of_log: Path) -> None:
    with folder_of_log.open("wb") as file:
        writer = LogWriter(file.fileno(), str)
        for number in range(5_000):
            writer.put(str(number))
        assert writer.flush(10.0)
    assert folder_of_log.read_text().split() == [str(number) for number in range(5_000)]


def test_a_full_pipe_holds_nobody_up_and_what_is_lost_is_counted(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "WAITING", 100)
    reader, descriptor = pipe
    before = filled(descriptor)
    writer = LogWriter(descriptor, "lost {}".format)
    began = time.monotonic()
    for _ in range(2_000):
        writer.put("x" * 1_000)
    assert time.monotonic() - began < 5
    assert writer.dropped == 1_900
    assert not writer.flush(0.1)
    assert sorted(read_lines(reader, before + 101)[before:]) == sorted(["x" * 1_000] * 100 + ["lost 1900"])


def filled(descriptor: int) -> int:
    """Fill a pipe; returns with how many lines."""
    os.set_blocking(descriptor, False)
    line, count = b"y" * (PIPE_BUF - 1) + b"\n", 0  # such a write goes in whole or not at all
    with suppress(BlockingIOError):
        while os.write(descriptor, line):
            count += 1
    os.set_blocking(descriptor, True)
    return count


def test_without_a_reader_lines_are_dropped(pipe: tuple[int, int]) -> None:
    reader, descriptor = pipe
    writer = LogWriter(descriptor, str)
    os.close(reader)
    for _ in range(3):
        writer.put("nobody reads this")
    assert writer.flush(10.0)
    assert writer.dropped == 3


def test_without_a_thread_lines_are_written_at_once(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    writer = LogWriter(pipe[1], str)
    writer.put("here")
    assert os.read(pipe[0], 100) == b"here\n"
    assert writer.flush(0.0)


@pytest.fixture
def folder_of_log(tmp_path: Path) -> Path:
    return tmp_path / "log"
