"""Patroni, as people run Postgres with a standby: Debian's etcd, and two nodes with synchronous replication, on free ports.

Each node may be a host of its own, whose network can be cut off (`support.split`).
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg

from support.facts import until
from support.servers import SECONDS
from support.split import Host
from waggle_embedded.binaries import find_postgres
from waggle_embedded.child import Account
from waggle_embedded.child import until as wait
from waggle_embedded.placement import free_port, server_account

START_SECONDS: Final = 60.0
PASSWORD: Final = "of-a-test"  # a server that ends with its test
DCS: Final = {
    "ttl": 20,  # Patroni takes no shorter one
    "loop_wait": 1,
    "retry_timeout": 3,
    "primary_start_timeout": 0,  # a primary that dies is replaced, not started again
    "synchronous_mode": True,
    "postgresql": {"use_pg_rewind": True, "parameters": {"fsync": "off", "max_connections": 100}},
}


class PatroniNode:
    """One Patroni with its Postgres."""

    def __init__(self, name: str, folder: Path, etcd: str, account: Account | None, host: Host) -> None:
        self.name, self.host, self.port, self._api = name, host, free_port(), free_port()
        self.log = folder / f"{name}.log"
        self._data, self._account, self._config = folder / name / "data", account, folder / f"{name}.json"
        self._data.parent.mkdir()
        self._config.write_text(json.dumps(self._configuration(etcd)))
        self._config.chmod(0o644)
        if account:
            os.chown(self._data.parent, account.uid, account.gid)
        self.start()

    def _configuration(self, etcd: str) -> dict[str, Any]:
        login, own = {"username": "postgres", "password": PASSWORD}, self.host.address
        return {
            "scope": "waggle",
            "name": self.name,
            "restapi": {"listen": f"{own}:{self._api}", "connect_address": f"{own}:{self._api}"},
            "etcd3": {"host": etcd},
            "bootstrap": {"dcs": DCS, "initdb": [{"encoding": "UTF8"}, "no-sync"]},
            "postgresql": {
                "listen": f"{own}:{self.port}",
                "connect_address": f"{own}:{self.port}",
                "data_dir": str(self._data),
                "bin_dir": str(find_postgres(self._account).folder),
                "pgpass": str(self._data.parent / "pgpass"),
                "authentication": {"superuser": login, "replication": login},
                "parameters": {"unix_socket_directories": ""},
                "pg_hba": ["host all all samenet trust", "host replication all samenet trust"],
            },
        }

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.host.prefix, *_as(self._account), _program("patroni"), str(self._config)], stdout=log, stderr=log, cwd="/", start_new_session=True
            )

    def ask(self, page: str) -> dict[str, Any]:
        """A page of its REST interface. Raises OSError."""
        with urllib.request.urlopen(f"http://{self.host.address}:{self._api}/{page}", timeout=2) as answer:  # our own server
            found: dict[str, Any] = json.load(answer)
            return found

    async def takes_writes(self) -> bool:
        try:
            connection = await asyncpg.connect(f"postgresql://postgres:{PASSWORD}@{self.host.address}:{self.port}/postgres", timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        try:
            return bool(await connection.fetchval("SELECT NOT pg_is_in_recovery()"))
        finally:
            await connection.close()

    def switch_over(self, to: "PatroniNode") -> None:
        """`patronictl switchover` from this node to another."""
        subprocess.run(
            [_program("patronictl"), "-c", self._config, "switchover", "waggle", "--leader", self.name, "--candidate", to.name, "--force"],
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )

    def kill_postgres(self) -> None:
        """Kill (SIGKILL) the postmaster."""
        os.kill(self._postmaster(), signal.SIGKILL)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop (SIGSTOP) Patroni and all of its Postgres for the length of the block, as a machine that hangs."""
        stopped = [self._process.pid, self._postmaster()]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        stopped += _children(stopped[1])
        for pid in stopped[2:]:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(stopped):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill Patroni, then its Postgres, which would outlive it."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError, ValueError):
            postmaster = self._postmaster()
            os.kill(postmaster, signal.SIGKILL)
            wait(lambda: not Path(f"/proc/{postmaster}").exists(), SECONDS, f"the end of {self.name}")

    def _postmaster(self) -> int:
        return int((self._data / "postmaster.pid").read_text().split()[0])


class PatroniCluster:
    """Both nodes. `url` names the servers of both."""

    def __init__(self, folder: Path, etcd: str, hosts: Sequence[Host]) -> None:
        account = server_account(folder / "none")
        self.nodes = [PatroniNode(name, folder, etcd, account, host) for name, host in zip("ab", hosts, strict=True)]
        servers = ",".join(f"{node.host.address}:{node.port}" for node in self.nodes)
        self.url = f"postgresql://postgres:{PASSWORD}@{servers}/postgres?target_session_attrs=read-write"

    async def pair(self) -> tuple[PatroniNode, PatroniNode]:
        """The primary and its synchronous standby, once there are both."""
        return await until(self._pair, START_SECONDS, "a primary and a synchronous standby")

    async def _pair(self) -> tuple[PatroniNode, PatroniNode] | None:
        try:
            members = (await asyncio.to_thread(self.nodes[0].ask, "cluster"))["members"]
        except OSError:
            return None
        roles = {member["role"]: member["name"] for member in members if member["state"] in ("running", "streaming")}
        named = {node.name: node for node in self.nodes}
        return (named[roles["leader"]], named[roles["sync_standby"]]) if {"leader", "sync_standby"} <= roles.keys() else None

    def close(self) -> None:
        for node in self.nodes:
            node.close()


@contextmanager
def patroni(folder: Path, here: str = "127.0.0.1", hosts: Sequence[Host] = (Host(), Host())) -> Iterator[PatroniCluster]:
    """A cluster in a new folder, for the length of the block; it may not have a primary yet. `hosts` reach etcd at the address `here`."""
    folder.mkdir(mode=0o711)
    client, peer = free_port(), free_port()
    with (folder / "etcd.log").open("wb") as log:
        etcd = subprocess.Popen(_etcd(folder, f"http://{here}:{client}", f"http://127.0.0.1:{peer}"), stdout=log, stderr=log)
    try:
        made = PatroniCluster(folder, f"{here}:{client}", hosts)
        try:
            yield made
        finally:
            made.close()
    finally:
        etcd.kill()
        etcd.wait()


def _etcd(folder: Path, here: str, there: str) -> list[str]:
    binary = shutil.which("etcd")
    assert binary, "etcd is missing: install the Debian package etcd-server"
    return [
        *(binary, "--data-dir", str(folder / "etcd")),
        *("--listen-client-urls", here, "--advertise-client-urls", here),
        *("--listen-peer-urls", there, "--initial-advertise-peer-urls", there, "--initial-cluster", f"default={there}"),
    ]


def _program(name: str) -> str:
    program = Path(sys.executable).with_name(name)
    assert program.exists(), f"{program} is missing: it comes with the test dependencies"
    return str(program)


def _as(account: Account | None) -> list[str]:
    """As root, Postgres must run as another account; the interpreter may be in a folder of root's, so that account may read every file."""
    if account is None:
        return []
    return ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
