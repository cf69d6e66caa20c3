"""`waggle up`: one command starts everything, keeps it alive, reports its true state, and leaves nothing behind."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from support import full_disk
from support.facts import until
from support.loops import again_and_again
from support.processes import START_SECONDS, kill
from support.servers import NatsServer
from support.system import client_for
from waggle_embedded.placement import free_port

SERVICES = ("api", "worker", "dlq", "scheduler")
STOP_SECONDS = 30.0

SHOP = """
import logging

from waggle import App, Context

app = App()

@app.task("shop.add")
async def add(ctx: Context, a: int, b: int) -> dict:
    ctx.log.info("adding")
    logging.getLogger("shop").info("adding by %s", "logging")
    return {"sum": a + b}

@app.task("shop.write")
def write(file: str) -> dict:
    open(file, "w").close()
    return {"written": file}
"""


class Up:
    """A `waggle up` in a folder of its own."""

    def __init__(self, place: Path, *options: str, umask: int = -1, **environ: str) -> None:
        self.place, self.ready_file, self.output = place, place / "ready.json", place / "output.txt"
        defaults = {"--port": str(free_port()), "--ready-file": str(self.ready_file), "--processes": "1"}
        argv = [sys.executable, "-m", "waggle_cli", "up", *options]
        argv += [part for option in defaults.items() if option[0] not in options for part in option]
        env = {name: value for name, value in os.environ.items() if not name.startswith("WAGGLE_")}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(argv, cwd=place, env=env | environ, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, umask=umask)

    @property
    def facts(self) -> dict[str, Any]:
        """The ready file; {} while there is none."""
        try:
            found: dict[str, Any] = json.loads(self.ready_file.read_bytes())
        except FileNotFoundError:
            return {}
        return found

    @property
    def pids(self) -> dict[str, int]:
        return dict(self.facts.get("pids", {}))

    def said(self) -> str:
        return self.output.read_text()

    async def ready(self) -> dict[str, Any]:
        """Its ready file, once the banner is complete."""

        def there() -> dict[str, Any]:
            assert self.process.poll() is None, f"it ended with code {self.process.returncode}:\n{self.said()}"
            return self.facts if "Ctrl-C stops everything" in self.said() else {}

        return await until(there, START_SECONDS, f"it becomes ready\n{self.said()}")

    async def ended(self) -> int:
        await until(lambda: self.process.poll() is not None, STOP_SECONDS, f"it ends\n{self.said()}")
        return self.process.returncode

    async def stopped(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await self.ended()


def gone(pid: int) -> bool:
    """Whether a process has ended (an orphan may stay a zombie for a while)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def place(folder: Path) -> Path:
    """The folder of a user's project."""
    (folder / "shop.py").write_text(SHOP)
    return folder


@pytest.fixture
def start(place: Path, logs: dict[str, Path]) -> Iterator[Callable[..., Up]]:
    started = []

    def start(*options: str, umask: int = -1, **environ: str) -> Up:
        up = Up(place, *options, umask=umask, **environ)
        started.append(up)
        logs["up"] = up.output
        return up

    yield start
    for up in started:
        kill(up.process)


async def done(facts: Mapping[str, Any], type_: str, payload: Mapping[str, object]) -> object:
    """Submit a task and wait for its result."""
    async with client_for(facts) as client:
        answer = await client.post("/api/tasks", json={"type": type_, "payload": payload})
        assert answer.status_code == 201, answer.text
        task = (await client.get(f"/api/tasks/{answer.json()['id']}", params={"wait": 15})).json()
        assert task["status"] == "completed", task
        return task["result"]


async def test_one_command_starts_everything_and_its_ready_file_names_all_addresses(start: Callable[..., Up], place: Path) -> None:
    up = start("--app", "shop:app")
    facts = await up.ready()

    assert set(facts) == {"api_url", "api_key", "nats_url", "nats_publisher_url", "postgres_url", "metrics_urls", "pids"}
    assert set(facts["pids"]) == {*SERVICES, "nats", "postgres", "up"}
    assert facts["pids"]["up"] == up.process.pid
    assert not any(gone(pid) for pid in up.pids.values())
    assert stat.S_IMODE(up.ready_file.stat().st_mode) == 0o600
    assert (place / ".waggle" / "up.json").read_bytes() == up.ready_file.read_bytes()

    assert await done(facts, "demo.echo", {"hello": "bees"}) == {"hello": "bees"}
    assert await done(facts, "shop.add", {"a": 1, "b": 2}) == {"sum": 3}
    assert set(facts["metrics_urls"]) == set(SERVICES)
    async with httpx2.AsyncClient(trust_env=False) as client:
        for service in SERVICES:
            assert (await client.get(facts["metrics_urls"][service])).status_code == 200

    # The banner's own commands, as a reader would type them.
    submit, read = re.findall(r"^ +(curl .*)$", up.said(), re.MULTILINE)
    task = json.loads(shell(submit))
    assert json.loads(shell(read.replace("ID?", f"{task['id']}?")))["result"] == {"hello": "bees"}


def shell(command: str) -> str:
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=30).stdout


async def test_what_it_writes_is_its_owners_whatever_the_umask(start: Callable[..., Up], place: Path) -> None:
    up = start("--app", "shop:app", umask=0)
    facts = await up.ready()
    await done(facts, "shop.write", {"file": str(place / "written")})
    assert stat.S_IMODE((place / "written").stat().st_mode) == 0o666, "a handler's files have the modes that its user wants"
    await replaced(up, "worker")  # what is written again is its owner's, too
    written = [path for path in (place / ".waggle").rglob("*") if not path.is_symlink()]
    open_to_others = {path: oct(path.stat().st_mode) for path in written if path.exists() and path.stat().st_mode & (0o077 if path.is_file() else 0o066)}
    assert open_to_others == {}
    assert {path.name for path in written} >= {"api.json", "worker.json", "lock", "up.json", "api_key", "nats.conf", "port", "PG_VERSION", "prometheus.yml"}
    assert all(stat.S_IMODE((place / ".waggle" / part).stat().st_mode) == 0o700 for part in ("run", "logs"))


async def test_whatever_dies_is_restarted_and_the_ready_file_stays_true(start: Callable[..., Up]) -> None:
    up = start()
    before = await up.ready()

    for name in ("worker", "api", "nats", "postgres"):
        await replaced(up, name)

    after = up.facts
    assert not any(gone(pid) for pid in up.pids.values())
    assert {key: value for key, value in after.items() if key != "pids"} == {key: value for key, value in before.items() if key != "pids"}
    assert {name for name in after["pids"] if after["pids"][name] == before["pids"][name]} >= {"dlq", "scheduler", "up"}
    assert await done(after, "demo.echo", {"still": "here"}) == {"still": "here"}


async def replaced(up: Up, name: str) -> None:
    """Kill a process with -9 and wait until the ready file names another."""
    died = up.pids[name]
    os.kill(died, signal.SIGKILL)
    await until(lambda: up.pids[name] != died, START_SECONDS, f"{name} is started again")


async def test_ctrl_c_stops_everything_and_the_data_is_kept(start: Callable[..., Up], place: Path) -> None:
    up = start()
    facts = await up.ready()
    pids = up.pids
    await execute(facts["postgres_url"], "CREATE TABLE kept AS SELECT 42 AS answer")

    os.killpg(up.process.pid, signal.SIGINT)  # as the terminal does it: the whole foreground group
    assert await up.ended() == 0
    assert all(gone(pid) for pid in pids.values())
    assert not up.ready_file.exists()
    assert not (place / ".waggle" / "up.json").exists()

    again = await start().ready()
    assert again["postgres_url"] == facts["postgres_url"]
    await execute(again["postgres_url"], "SELECT answer FROM kept")


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_kill_9_leaves_no_process_behind_and_the_next_start_recovers(start: Callable[..., Up]) -> None:
    up = start()
    facts = await up.ready()
    pids = up.pids
    await execute(facts["postgres_url"], "CREATE TABLE kept AS SELECT 42 AS answer")

    kill(up.process)
    again = start()
    await until(lambda: all(gone(pid) for pid in pids.values()), 5)
    await until(lambda: again.pids.get("up") == again.process.pid, START_SECONDS, "it becomes ready")
    await execute(again.facts["postgres_url"], "SELECT answer FROM kept")
    assert await again.stopped() == 0


async def test_nats_that_stores_nothing_is_restarted(start: Callable[..., Up]) -> None:
    up = start("--ephemeral")
    facts = await up.ready()
    full_disk.fill(facts["pids"]["nats"])
    accepted: list[str] = []
    async with client_for(facts) as client:

        async def submit() -> None:
            accepted.append((await client.post("/api/tasks", json={"type": "demo.echo"})).json()["id"])

        async with again_and_again(submit, 0.05):
            await until(lambda: up.facts.get("pids", {}).get("nats", facts["pids"]["nats"]) != facts["pids"]["nats"], 30.0, "NATS is restarted")
    assert "NATS stores nothing" in up.said()
    await until(lambda: all_completed(facts["postgres_url"], len(accepted)), 20.0, "all tasks complete")
    assert await up.stopped() == 0


async def all_completed(url: str, count: int) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT count(*) = $1 FROM waggle.tasks WHERE status = 'completed'", count))
    finally:
        await connection.close()


async def test_it_shows_what_handlers_log(start: Callable[..., Up]) -> None:
    up = start("--app", "shop:app", "--ephemeral")
    facts = await up.ready()
    assert await done(facts, "shop.add", {"a": 1, "b": 2}) == {"sum": 3}
    for text, logger in (("adding", "ctx.log"), ("adding by logging", "shop")):
        shown = await until(lambda text=text, logger=logger: re.search(rf"worker +info +{text}  .*logger={logger}", up.said()))
        assert "task_type=shop.add" in shown.string
    assert "try ended" not in up.said()
    assert await up.stopped() == 0


async def test_a_running_task_is_finished_before_the_stop(start: Callable[..., Up]) -> None:
    up = start()
    facts = await up.ready()
    async with client_for(facts) as client:
        task = (await client.post("/api/tasks", json={"type": "demo.sleep", "payload": {"seconds": 1.5}})).json()["id"]
        await until(lambda: status(facts["postgres_url"], task, "running"))
    assert await up.stopped() == 0

    again = await start().ready()
    assert await status(again["postgres_url"], task, "completed")


async def status(url: str, task: str, wanted: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT status = $2 FROM waggle.tasks WHERE id = $1::uuid", task, wanted))
    finally:
        await connection.close()


async def test_an_ephemeral_one_leaves_no_data(start: Callable[..., Up], place: Path) -> None:
    up = start("--ephemeral")
    await up.ready()
    data = re.search(r"data +(\S+) \(deleted at the end\)", up.said())
    assert data
    assert Path(data[1]).exists()
    assert await up.stopped() == 0
    assert not Path(data[1]).exists()
    assert not (place / ".waggle").exists()


async def test_a_stop_during_the_start_leaves_nothing_either(start: Callable[..., Up], place: Path) -> None:
    up = start()
    await until(lambda: "postgres" in up.said(), START_SECONDS)
    assert await up.stopped() == 0
    assert not (place / ".waggle" / "postgres" / "cluster" / "postmaster.pid").exists()


async def test_a_second_one_in_the_same_folder_is_refused(start: Callable[..., Up]) -> None:
    up = start()
    await until(lambda: "Starting" in up.said(), START_SECONDS)
    second = start()
    assert await second.ended() == 2
    assert f"another `waggle up` (process {up.process.pid})" in second.said()
    assert up.process.poll() is None


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


REFUSALS = {
    "a variable that is none": ((), {"WAGGLE_CONCURENCY": "3"}, 2, "did you mean WAGGLE_CONCURRENCY?"),
    "handlers that are not there": (("--app", "nowhere:app"), {}, 2, "No module named 'nowhere'"),
    "handlers with an error": (("--app", "broken:app"), {}, 2, "RuntimeError: boom while importing ("),
    "handlers that are no app": (("--app", "no_app:app"), {}, 2, "WAGGLE_APP=no_app:app is of type int, not a waggle.App"),
    "a handler that is none": (("--app", "generates:app"), {}, 2, "task a.b: the handler numbers ("),
    "a handler of a built-in type": (("--app", "taken:app"), {}, 2, "both apps have a handler for http.request"),
    "a path where a module is named": (("--app", "shop/tasks.py:app"), {}, 2, "expected module:attribute; did you mean shop.tasks:app?"),
    "a file where a module is named": (("--app", "shop.py:app"), {}, 2, "did you mean shop:app?"),
    "a data folder that is a file": (("--data-dir", "shop.py"), {}, 2, "choose another with --data-dir"),
    "a ready file in no folder": (("--ready-file", "nowhere/ready.json"), {}, 2, "choose another with --ready-file"),
    "two kinds of data folder": (("--ephemeral", "--data-dir", "x"), {}, 2, "give only one of them"),
    "an address with a parameter that is none": ((), {"WAGGLE_POSTGRES_URL": "postgresql://h/d?pool=5"}, 2, "WAGGLE_POSTGRES_URL: pool is not a parameter"),
    "credentials for its own NATS": ((), {"WAGGLE_NATS_CREDS": "user.creds"}, 2, "WAGGLE_NATS_CREDS: for a NATS server of your own"),
    "TLS with a server that has none": ((), {"PGSSLMODE": "require"}, 2, "PGSSLMODE=require asks for TLS"),
    "a disk that is too small": ((), {"WAGGLE_WORK_MAX_BYTES": str(1 << 50)}, 2, "too little disk"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_it_says_what_to_change_about(case: str, start: Callable[..., Up], place: Path) -> None:
    options, environ, code, message = REFUSALS[case]
    (place / "broken.py").write_text("raise RuntimeError('boom while importing')\n")
    (place / "no_app.py").write_text("app = 5\n")
    (place / "generates.py").write_text("from waggle import App\napp = App()\n@app.task('a.b')\ndef numbers():\n    yield 1\n")
    (place / "taken.py").write_text("from waggle import App\napp = App()\napp.task('http.request')(lambda: None)\n")
    up = start(*options, **environ)
    assert await up.ended() == code
    assert message in up.said()
    assert "Traceback" not in up.said()
    assert not up.ready_file.exists()
    assert not list((place / ".waggle").glob("*/cluster"))  # no server was made


async def test_a_taken_port_is_refused_with_the_option_that_changes_it(start: Callable[..., Up]) -> None:
    with taken_port() as port:
        up = start("--port", str(port))
        assert await up.ended() == 2
        assert f"127.0.0.1:{port}" in up.said()
        assert "--port" in up.said()


async def test_servers_of_the_user_are_used_and_left_alone(start: Callable[..., Up], database: str, nats: NatsServer) -> None:
    up = start(WAGGLE_POSTGRES_URL=database, WAGGLE_NATS_URL=nats.url)
    facts = await up.ready()
    assert (facts["postgres_url"], facts["nats_url"]) == (database, nats.url)
    assert set(facts["pids"]) == {*SERVICES, "up"}
    assert await done(facts, "demo.echo", {"on": "mine"}) == {"on": "mine"}
    assert await up.stopped() == 0
    await execute(database, "SELECT 1")
    assert not gone(nats.pid)


def test_help_reads_in_a_moment() -> None:
    run = subprocess.run([sys.executable, "-X", "importtime", "-m", "waggle_cli", "--help"], capture_output=True, text=True, check=True)
    assert "Run everything on this machine" in run.stdout
    heavy = {"asyncpg", "nats", "litestar", "uvicorn", "sqlalchemy", "structlog", "msgspec", "httpx2"}
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert not heavy & imported
