"""Several worker processes by one command: all of them work, one that dies is started again, and all stop together."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from support import given
from support.command_line import WAGGLE, access, up, waggle
from support.facts import until
from support.fleet import FleetSettings
from support.processes import START_SECONDS, TESTS, kill
from support.servers import NatsServer
from support.system import Services
from waggle.bus.connection import Bus
from waggle.bus.ring import Ringer
from waggle.store import postgres as store
from waggle_embedded.child import last_lines

Pool = asyncpg.Pool


def gone(pid: int) -> bool:
    """Whether a process has ended (an orphan may stay a zombie for a while)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def read(file: Path) -> dict[str, Any]:
    """A ready file; {} while there is none."""
    try:
        found: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    return found


async def test_up_runs_as_many_workers_as_it_is_told_and_tells_the_truth_about_them(folder: Path) -> None:
    output = folder / "up.txt"
    with up("--processes", "2", "--ephemeral", place=folder, output=output) as facts:
        first, second = facts["pids"]["worker"]
        for url in facts["metrics_urls"]["worker"]:
            async with httpx2.AsyncClient(trust_env=False) as client:
                assert "waggle_worker_running" in (await client.get(url)).text
        assert isinstance(facts["pids"]["api"], int)
        listed = json.loads(waggle("workers", "-o", "json", place=folder, **access(facts)).stdout)["items"]
        assert {worker["pid"] for worker in listed if worker["alive"]} == {first, second}

        async with store.pool(FleetSettings(postgres_url=facts["postgres_url"], nats_url=facts["nats_url"]), "test", 1) as pool:
            await given.waiting(pool, 20, ring=False, type="demo.sleep", payload='{"seconds": 2}')
            await until(lambda: pool.fetchval("SELECT count(*) = 20 FROM waggle.tasks WHERE status = 'running'"), 10.0)
            killed = await pool.fetchval("SELECT now()")
            os.kill(second, signal.SIGKILL)
            await until(lambda: pool.fetchval("SELECT count(*) = 20 FROM waggle.tasks WHERE status = 'completed'"), 12.0)
            last = await pool.fetchval("SELECT max(ended_at) FROM waggle.task_attempts WHERE outcome = 'lost'")
            assert (last - killed).total_seconds() <= 2.0
        now = await until(lambda: _replaced(read(output.with_suffix(".ready")), second), START_SECONDS, "the ready file names the new worker")
        assert now["pids"]["worker"][0] == first
        assert len(set(now["metrics_urls"]["worker"])) == 2
    assert gone(first)
    assert gone(now["pids"]["worker"][1])


def _replaced(facts: dict[str, Any], dead: int) -> dict[str, Any]:
    pids = facts.get("pids", {}).get("worker", [dead])
    return {} if dead in pids else facts


@contextmanager
def workers(folder: Path, database: str, nats: NatsServer, *options: str) -> Iterator[tuple["subprocess.Popen[bytes]", Path, Path]]:
    """A `waggle worker` with these options; its process, ready file and output."""
    ready_file, output = folder / "workers.ready", folder / "workers.txt"
    env = {name: value for name, value in os.environ.items() if not name.startswith("WAGGLE_")}
    env |= {
        "PYTHONPATH": str(TESTS),
        "EFFECTS": str(folder / "effects.txt"),
        "WAGGLE_POSTGRES_URL": database,
        "WAGGLE_NATS_URL": nats.url,
        "WAGGLE_READY_FILE": str(ready_file),
    }
    with output.open("wb") as file:
        process = subprocess.Popen([WAGGLE, "worker", *options], cwd=folder, env=env, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process, ready_file, output
    finally:
        kill(process)


async def test_a_worker_command_runs_several_and_starts_again_the_one_that_dies(
    folder: Path, database: str, nats: NatsServer, pool: Pool, bus: Bus, lanes: None
) -> None:
    with workers(folder, database, nats, "--processes", "2", "--app", "support.handlers:app") as (process, ready_file, output):
        first, second = (await until(lambda: read(ready_file), START_SECONDS, "both are ready"))["pids"]
        os.kill(first, signal.SIGKILL)
        facts = await until(lambda: {} if first in read(ready_file)["pids"] else read(ready_file), START_SECONDS, "another one is there")
        assert (facts["pid"], facts["pids"][1], len(facts["metrics_url"])) == (process.pid, second, 2)

        [task_id] = await given.waiting(pool, type="test.work", payload='{"seconds": 1.0}')
        row = await given.row(pool, task_id)
        await Ringer(bus).ring([(task_id, "default", 1, row["rung_at"])])  # type: ignore[list-item]
        await until(lambda: pool.fetchval("SELECT status = 'running' FROM waggle.tasks"))
        process.send_signal(signal.SIGTERM)
        assert await until(lambda: process.poll() is not None, 30.0, last_lines(output))
        assert process.returncode == 0, last_lines(output)
    assert await pool.fetchval("SELECT status FROM waggle.tasks") == "completed"
    assert not ready_file.exists()
    assert all(gone(pid) for pid in facts["pids"])


async def test_a_worker_whose_slots_are_lost_to_threads_is_replaced(folder: Path, database: str, nats: NatsServer, pool: Pool, bus: Bus, lanes: None) -> None:
    options = ("--processes", "2", "--concurrency", "1", "--app", "support.stubborn_handlers:app")
    with workers(folder, database, nats, *options) as (_, ready_file, output):
        before = set((await until(lambda: read(ready_file), START_SECONDS, "both are ready"))["pids"])
        [task_id] = await given.waiting(pool, type="stubborn.sleeps", payload='{"seconds": 600}', timeout=0.5)
        row = await given.row(pool, task_id)
        await Ringer(bus).ring([(task_id, "default", 1, row["rung_at"])])  # type: ignore[list-item]
        after = await until(lambda: (now := set(read(ready_file)["pids"])) != before and now, START_SECONDS, "another one is there")
        assert len(before & after) == 1
        assert "too many handlers do not end" in output.read_text()


async def test_the_parent_ends_the_lease_of_a_worker_that_died(folder: Path, database: str, nats: NatsServer, pool: Pool, start: Services, lanes: None) -> None:
    """The lease is 15 s, and the tasks of the dead process run again long before. What it started for a handler has ended by then."""
    await start("scheduler")
    effects = folder / "effects.txt"
    effects.touch()
    with workers(folder, database, nats, "--processes", "2", "--app", "support.handlers:app") as (_, ready_file, output):
        await until(lambda: read(ready_file), START_SECONDS, "both are ready")
        [in_a_process] = await given.waiting(pool, ring=False, type="test.process", payload='{"seconds": 5}')
        await until(lambda: "began:" in effects.read_text(), 20.0)
        handler = int(effects.read_text().split()[0].partition(":")[2])
        await given.waiting(pool, 20, ring=False, type="test.work", payload='{"seconds": 2}')
        await until(lambda: pool.fetchval("SELECT count(*) = 21 FROM waggle.tasks WHERE status = 'running'"), 10.0)
        victim = await pool.fetchrow("SELECT w.id, w.pid FROM waggle.tasks t JOIN waggle.workers w ON w.id = t.worker_id WHERE t.id = $1", in_a_process)
        its_own = await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE worker_id = $1", victim["id"])
        killed = await pool.fetchval("SELECT now()")
        os.kill(victim["pid"], signal.SIGKILL)
        await until(lambda: pool.fetchval("SELECT NOT EXISTS (SELECT FROM waggle.workers WHERE id = $1)", victim["id"]), what="its lease is ended")
        assert gone(handler)
        await until(lambda: pool.fetchval("SELECT count(*) = 21 FROM waggle.tasks WHERE status = 'completed'"), 15.0)
        row = await pool.fetchrow("SELECT count(*) AS lost, max(ended_at) AS last FROM waggle.task_attempts WHERE outcome = 'lost'")
        assert row["lost"] == its_own
        assert (row["last"] - killed).total_seconds() <= 2.0
        assert "its lease is ended" in output.read_text()


async def test_wrong_settings_end_it_with_the_exit_code_for_that(folder: Path, database: str, nats: NatsServer) -> None:
    with workers(folder, database, nats, "--processes", "2", "--app", "not.there:app") as (process, _, output):
        await until(lambda: process.poll() is not None, START_SECONDS)
        assert process.returncode == 2
        assert "WAGGLE_APP=not.there:app cannot be loaded" in output.read_text()


async def test_they_end_with_their_parent_when_it_is_killed(folder: Path, database: str, nats: NatsServer) -> None:
    with workers(folder, database, nats, "--processes", "2") as (process, ready_file, _):
        pids = (await until(lambda: read(ready_file), START_SECONDS, "both are ready"))["pids"]
        process.kill()
        await until(lambda: all(gone(pid) for pid in pids), what="the workers of a killed parent end")
