"""The supervisor of `waggle up`, with small child processes: which are restarted, which are given up, and in which order they stop."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from waggle_cli.views.terminal import Terminal
from waggle_embedded import announcement, services
from waggle_embedded.child import ChildExited, ServerError
from waggle_embedded.supervisor import Member, StopAsked, Supervisor

READY = """
import json, os, signal, sys, time
from pathlib import Path
here = Path(__file__).parent
name = Path(sys.argv[0]).stem
with (here / f"{name}.starts").open("a") as starts:
    starts.write(f"{os.getpid()}\\n")
def ready():
    Path(os.environ["WAGGLE_READY_FILE"]).write_text(json.dumps({"pid": os.getpid()}))
"""

STEADY = """
def stop(number, frame):
    with (here / "stops").open("a") as stops:
        stops.write(f"{name}\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
ready()
time.sleep(60)
"""

STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
ready()
time.sleep(60)
"""

REFUSING = """
print("no such setting")
sys.exit(2)
"""

CRASHING = """
raise RuntimeError("boom")
"""

SPOILED = """
if len((here / f"{name}.starts").read_text().split()) > 1:
    print("spoiled")
    sys.exit(2)
ready()
time.sleep(60)
"""

TALKING = r"""
print(json.dumps({"level": "info", "event": "not for people"}))
print("plain text")
print(json.dumps({"level": "warning", "event": "red \x1b[31m alert", "count": 3}), flush=True)
for number in range(30):
    print(json.dumps({"level": "error", "event": "many", "number": number}), flush=True)
ready()
time.sleep(60)
"""

Make = Callable[..., Member]


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor(Terminal())


@pytest.fixture
def make(folder: Path, supervisor: Supervisor) -> Iterator[Make]:
    """Makes a member that runs this code: `make("crashing", CRASHING)`."""

    def make(name: str, code: str, stop_rank: int = 0, **options: float) -> Member:
        (folder / f"{name}.py").write_text(READY + code)
        environ = {**os.environ, "PYTHONPATH": str(folder)}
        return Member(name, lambda: services.launch(name, name, environ, run=folder, logs=folder), stop_rank, **options)  # type: ignore[arg-type]  # tries is an int

    yield make
    for member in supervisor.members:
        if member.child:
            member.child.kill()


def starts(folder: Path, name: str) -> int:
    return len((folder / f"{name}.starts").read_text().split())


def test_a_child_that_always_crashes_makes_the_start_fail_with_its_last_words(supervisor: Supervisor, make: Make, folder: Path) -> None:
    with pytest.raises(ChildExited, match=r"(?s)crashing ended with code 1.*RuntimeError: boom"):
        supervisor.start(make("crashing", CRASHING))
    assert starts(folder, "crashing") == 3


def test_a_child_with_invalid_settings_is_not_restarted(supervisor: Supervisor, make: Make, folder: Path) -> None:
    with pytest.raises(ChildExited, match=r"(?s)refusing ended with code 2.*no such setting"):
        supervisor.start(make("refusing", REFUSING))
    assert starts(folder, "refusing") == 1


def test_a_child_that_never_becomes_ready_makes_the_start_fail(supervisor: Supervisor, make: Make) -> None:
    with pytest.raises(ServerError, match=r"slow was not ready within 0 s"):
        supervisor.start(make("slow", "time.sleep(60)", ready_within=0.2))


def test_a_child_whose_settings_became_invalid_ends_the_watch(supervisor: Supervisor, make: Make, folder: Path) -> None:
    member = make("spoiled", SPOILED)
    supervisor.start(member)
    assert member.child
    member.child.process.kill()
    with pytest.raises(ChildExited, match=r"(?s)spoiled ended with code 2.*spoiled"):
        supervisor.watch()
    assert starts(folder, "spoiled") == 2


def test_a_signal_ends_the_start(supervisor: Supervisor, make: Make) -> None:
    with supervisor.signals():
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(StopAsked):
            supervisor.start(make("slow", "time.sleep(60)"))
        supervisor.stop()
    assert not any(member.child and member.child.alive for member in supervisor.members)


def test_children_are_stopped_rank_by_rank(supervisor: Supervisor, make: Make, folder: Path) -> None:
    supervisor.start(make("last", STEADY, 2), make("first", STEADY, 0), make("second", STEADY, 1))
    supervisor.stop()
    assert (folder / "stops").read_text().split() == ["first", "second", "last"]


def test_a_child_that_does_not_stop_is_killed_after_its_grace(supervisor: Supervisor, make: Make) -> None:
    member = make("stubborn", STUBBORN, grace=0.3)
    supervisor.start(member)
    begun = time.monotonic()
    supervisor.stop()
    assert 0.3 <= time.monotonic() - begun < 5
    assert member.child
    assert member.child.process.returncode == -signal.SIGKILL


def test_a_second_ctrl_c_does_not_wait_for_the_grace_but_one_that_arrived_twice_does(supervisor: Supervisor, make: Make) -> None:
    supervisor.start(make("stubborn", STUBBORN, grace=60.0))
    with supervisor.signals():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert supervisor.asked
        assert not supervisor.hurried
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        begun = time.monotonic()
        supervisor.stop()
    assert 0.4 < time.monotonic() - begun < 5


def test_warnings_are_shown_readable_bounded_and_without_escape_sequences(capfd: pytest.CaptureFixture[str], supervisor: Supervisor, make: Make) -> None:
    member = make("talking", TALKING)
    supervisor.start(member)
    supervisor.stop()
    shown = ""
    deadline = time.monotonic() + 5
    while "more such lines" not in shown and time.monotonic() < deadline:  # a thread writes the lines
        shown += capfd.readouterr().out
        time.sleep(0.02)
    assert "talking   warning red  [31m alert  count=3" in shown
    assert "\x1b" not in shown
    assert "not for people" not in shown
    assert "plain text" not in shown
    assert shown.count("many") <= 10 + 10  # ten for each look, and the start looks at least once
    assert "more such lines" in shown


def test_the_ready_file_has_lists_where_a_service_has_several_processes(supervisor: Supervisor, make: Make) -> None:
    members = [make("worker-1", STEADY), make("worker-2", STEADY), make("dlq", STEADY)]
    supervisor.start(*members)
    facts = announcement.facts(
        "postgresql://…", "nats://…", [(member.name.partition("-")[0], member.child) for member in members if member.child], api_key="wgl_…", publisher_url=""
    )
    assert facts["api_key"] == "wgl_…"
    pids = [member.child.pid for member in members if member.child]
    assert facts["pids"] == {"worker": pids[:2], "dlq": pids[2], "up": os.getpid()}
    assert facts["metrics_urls"] == {"worker": ["", ""], "dlq": ""}


def test_a_broken_ready_file_is_not_ready(folder: Path, supervisor: Supervisor, make: Make) -> None:
    member = make("steady", STEADY)
    supervisor.start(member)
    child = member.child
    assert isinstance(child, services.ServiceProcess)
    assert child.answers()
    child.ready_file.write_text(json.dumps({"pid": 1}))
    assert not child.answers()
    child.ready_file.write_text("{")
    assert not child.answers()
    assert child.facts() == {}
