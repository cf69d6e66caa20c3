"""The command line as people use it: `waggle …` in a folder, and a running `waggle up`."""

import json
import os
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
import structlog

from support.processes import kill
from waggle_cli.__main__ import app
from waggle_embedded.child import last_lines

WAGGLE: Final = Path(sysconfig.get_path("scripts")) / "waggle"
READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 40.0
COMMAND_SECONDS: Final = 60.0


class Called(NamedTuple):
    """The exit code and output of a command."""

    code: int
    out: str
    err: str


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> Called:
    """Run `waggle ARGUMENTS` in this process, 40 times faster than in one of its own."""
    capsys.readouterr()
    logs = structlog.get_config()
    try:
        with pytest.raises(SystemExit) as ended:
            app(arguments)
    finally:
        structlog.configure(**logs)  # a command configures its own logs; in a process of its own they would be the default
    code = ended.value.code
    assert isinstance(code, int)
    return Called(code, *capsys.readouterr())


def access(facts: dict[str, Any]) -> dict[str, str]:
    """The variables that lead the command line to a running `waggle up`, by its ready file."""
    return {"WAGGLE_URL": facts["api_url"], "WAGGLE_API_KEY": facts["api_key"]}


def waggle(*arguments: str, place: Path, stdin: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `waggle ARGUMENTS` in a folder and wait until it ends."""
    return subprocess.run(
        [WAGGLE, *arguments],
        cwd=place,
        env=_environ(environ),
        input="" if stdin is None else stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )


@contextmanager
def up(*options: str, place: Path, output: Path, program: Path = WAGGLE, **environ: str) -> Iterator[dict[str, Any]]:
    """A `waggle up` on free ports, for the length of a block; yields the contents of its ready file. Fails unless it stops gracefully."""
    ready_file = output.with_suffix(".ready")
    with output.open("wb") as file:
        process = subprocess.Popen(
            [program, "up", "--port", "0", "--ready-file", ready_file, *options],
            cwd=place,
            env=_environ(environ),
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield _ready(process, ready_file, output)
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_SECONDS) == 0, last_lines(output)
    finally:
        kill(process)  # its children end with it


def _ready(process: "subprocess.Popen[bytes]", ready_file: Path, output: Path) -> dict[str, Any]:
    deadline = time.monotonic() + READY_SECONDS
    while not ready_file.exists():
        assert process.poll() is None, f"`waggle up` ended with code {process.returncode}:\n{last_lines(output)}"
        assert time.monotonic() < deadline, f"`waggle up` is not ready after {READY_SECONDS:g} s:\n{last_lines(output)}"
        time.sleep(0.05)
    facts: dict[str, Any] = json.loads(ready_file.read_bytes())
    return facts


def _environ(more: dict[str, str]) -> dict[str, str]:
    """The environment without `WAGGLE_…` settings; time zone and colours are the same on every machine."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("WAGGLE_", "FORCE_COLOR"))}
    return {**plain, "TZ": "UTC", **more}
