"""What Linux has and other systems do not, and what stands in there."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from waggle import machine


def python(program: str) -> str:
    """The output of a program in a process of its own."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout.strip()


LOOP = """
import asyncio, sys
{without}
from waggle import machine
async def main():
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0])
machine.run(main())
"""


def test_services_run_on_uvloop_and_without_it_on_asyncio() -> None:
    assert python(LOOP.format(without="")) == "uvloop"
    assert python(LOOP.format(without="sys.modules['uvloop'] = None")) == "asyncio"


STOP = """
import asyncio, os, signal
from waggle import machine
async def main():
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    {without}
    machine.on_stop_signal(stop.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 10)
        stop.clear()
    print("stopped")
asyncio.run(main())
"""


def test_a_stop_signal_is_heard_also_where_the_loop_cannot_hear_it() -> None:
    assert python(STOP.format(without="")) == "stopped"
    assert python(STOP.format(without="def refuse(*_): raise NotImplementedError\n    loop.add_signal_handler = refuse")) == "stopped"


CHILD = """
import os, sys, time
from waggle import machine
sys.platform = {platform!r}
machine.PARENT_POLL_SECONDS = 0.02
machine.end_with_parent(os.getppid())
print(os.getpid(), flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]])
"""


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_process_ends_with_its_parent(platform: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD.format(platform=platform)], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 30
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_folder_of_another_process(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE) as process:
        assert machine.working_folder(process.pid) == tmp_path.resolve()
    with pytest.raises(ProcessLookupError):
        machine.working_folder(process.pid)


def test_elsewhere_memory_is_left_to_the_allocator_and_children_to_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    machine.keep_freed_memory()
    assert machine.parent_death_hook(machine.signal.SIGKILL) is None
    assert machine.cores() == (os.cpu_count() or 1)


def test_what_only_some_systems_have_stands_in_one_place() -> None:
    root = Path(__file__).parents[2]
    code = [file for folder in ("libs", "services") for file in (root / folder).rglob("*.py") if file.name != "machine.py"]
    assert len(code) > 100
    only = re.compile(r"prctl\(|mallopt\(|sched_getaffinity|[\"']/proc/|import uvloop|uvloop\.run|add_signal_handler|sys\.platform")
    assert [str(file.relative_to(root)) for file in code if only.search(file.read_text())] == []
