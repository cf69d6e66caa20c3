"""Services as real processes: started with the settings of a test, killed, stopped, paused; tests read their log lines."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

import waggle
from support.facts import until
from support.fleet import FleetSettings
from support.nursery import TESTS, Forked, forked
from waggle.settings.services import declared
from waggle.settings.sources import PREFIX
from waggle_embedded.child import last_lines, spawn

START_SECONDS = 60.0
STOP_SECONDS = 30.0
GONE_SECONDS = 30.0
WRITTEN_SECONDS = 0.3
PLAIN = {"EFFECTS"}
"""Variables that handlers read when they run. Any other may count when Python or a module starts, and a nursery has done that already."""

_numbers = itertools.count(1)


@dataclass
class Process:
    """A running service; it ends with the test, at the latest with the test process."""

    name: str
    settings: FleetSettings
    process: subprocess.Popen[bytes] | Forked = field(repr=False)
    ready_file: Path
    log: Path
    ended_by_test: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ready(self) -> bool:
        """Whether it is ready. Fails, with the end of its log, when it has ended."""
        assert self.alive, f"{self.name} ended by itself with code {self.process.returncode}; the end of its log:\n{self.tail()}"
        return self.ready_file.exists()

    @property
    def addresses(self) -> dict[str, Any]:
        """The contents of its ready file."""
        found: dict[str, Any] = json.loads(self.ready_file.read_bytes())
        return found

    @property
    def api_url(self) -> str:
        return str(self.addresses["api_url"])

    @property
    def metrics_url(self) -> str:
        return str(self.addresses["metrics_url"])

    def lines(self) -> list[dict[str, Any]]:
        """Its log lines so far, without those that are not JSON."""
        return list(_json_lines(self.log))

    def logged(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """Its log lines with this event and these fields. A service writes its lines a moment later: without one it looks again for WRITTEN_SECONDS."""
        deadline = time.monotonic() + WRITTEN_SECONDS
        while True:
            found = [line for line in self.lines() if line.get("event") == event and fields.items() <= line.items()]
            if found or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it (SIGKILL) and wait until it has ended."""
        self.ended_by_test = True
        kill(self.process)
        self.ready_file.unlink(missing_ok=True)

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM), without waiting."""
        self.ended_by_test = True
        self.process.send_signal(signal.SIGTERM)

    async def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Stop it gracefully (SIGTERM) and wait until it ends; returns its exit code."""
        self.terminate()
        return await self.ended(seconds)

    async def ended(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until it ends, for whatever reason; returns its exit code."""
        await until(lambda: not self.alive, seconds, f"{self.name} ends\n{self.tail()}")
        self.ended_by_test = True
        assert self.process.returncode is not None
        return self.process.returncode

    def pause(self) -> None:
        """Stop the process (SIGSTOP); its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def tail(self, count: int = 30) -> str:
        """The end of its log."""
        return last_lines(self.log, count=count)


def kill(process: subprocess.Popen[Any] | Forked) -> None:
    """Kill it (SIGKILL) and wait until it has ended."""
    process.kill()
    process.wait(GONE_SECONDS)


def launch(name: str, settings: FleetSettings, folder: Path, *, environ: Mapping[str, str] | None = None, output: int | None = None) -> Process:
    """Start a service without waiting until it is ready. `environ` adds variables to its environment; it writes to a log, or to the descriptor `output`.

    It is forked from a process that has imported it, unless the start of Python is part of the test.
    """
    number = next(_numbers)
    ready_file = folder / f"{name}-{number}.ready"
    settings = msgspec.structs.replace(settings, ready_file=str(ready_file))
    env = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    env |= {"PYTHONPATH": str(TESTS), **variables(settings), **(environ or {})}
    log = folder / f"{name}-{number}.log"
    process: subprocess.Popen[bytes] | Forked | None = None
    if output is None and (environ or {}).keys() <= PLAIN:
        process = forked(name, env, log)
    if process is None:
        command = [sys.executable, "-m", f"waggle_{name}"]
        process = spawn(command, log=log, env=env) if output is None else subprocess.Popen(command, env=env, stdout=output, stderr=output)
    return Process(name, settings, process, ready_file, log)


@asynccontextmanager
async def service(name: str, settings: FleetSettings, folder: Path, *, environ: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """A ready service for the length of a block. Fails, with the end of its log, when it ends by itself."""
    process = launch(name, settings, folder, environ=environ)
    try:
        await ready(process)
        yield process
    finally:
        await end(process)


async def ready(*processes: Process, seconds: float = START_SECONDS) -> None:
    """Wait until all of these are ready. Fails, with the end of its log, when one ends."""
    for process in processes:
        await until(process.ready, seconds, f"{process.name} becomes ready\n{process.tail()}")


async def end(*processes: Process) -> None:
    """Stop all of these gracefully, at the same time. Fails, with the end of its log, when one ended by itself or with another code than 0."""
    crashed = [
        f"{process.name} ended by itself (code {process.process.returncode})" for process in processes if not process.alive and not process.ended_by_test
    ]
    left = [process for process in processes if process.alive]
    for process in left:
        process.resume()
        process.process.send_signal(signal.SIGTERM)
    try:
        for process in left:
            await process.ended()
    finally:
        for process in left:
            if process.alive:
                process.kill()
    crashed += [f"{process.name} stopped with code {process.process.returncode}" for process in left if process.process.returncode != 0]
    assert not crashed, "\n".join([*crashed, *(process.tail() for process in processes if process.process.returncode != 0)])


def variables(settings: FleetSettings) -> dict[str, str]:
    """The settings that differ from the services' defaults, as environment variables."""
    found = {}
    for name, info in declared().items():
        value = getattr(settings, name)
        if info.required or value != info.default:
            found[PREFIX + name.upper()] = ",".join(value) if isinstance(value, tuple) else str(value)
    return found


def _json_lines(log: Path) -> Iterator[dict[str, Any]]:
    for line in log.read_text(errors="replace").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def another_version(distribution: str, folder: Path) -> dict[str, str]:
    """Variables with which a process finds version 0.0.1 of a distribution installed, for `launch(…, environ=…)`."""
    metadata = folder / f"{distribution.replace('-', '_')}-0.0.1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.0.1\n")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{TESTS}"}


def mistaken(file: str, right: str, wrong: str, folder: Path) -> dict[str, str]:
    """Variables with which a process runs a copy of `waggle` that has a mistake in one file: `wrong` in place of the last `right`."""
    copy = folder / "waggle"
    shutil.copytree(Path(waggle.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    source = copy / file
    text = source.read_text()
    assert right in text, f"{file} has no {right!r}"
    source.write_text(wrong.join(text.rsplit(right, 1)))
    return {"PYTHONPATH": f"{folder}{os.pathsep}{TESTS}"}
