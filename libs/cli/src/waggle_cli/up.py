"""`waggle up`: everything on this machine, in one folder, until Ctrl-C.

It owns the data folder (one `up` at a time), the order of the start, the ready file and the banner. The supervisor keeps the processes alive.
"""

import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from waggle.machine import cores
from waggle.settings.environment import read
from waggle.settings.services import UpSettings
from waggle.settings.shared import SettingsError
from waggle.settings.sources import PREFIX
from waggle_cli import announcement
from waggle_cli.terminal import Terminal
from waggle_embedded import nats, postgres, services
from waggle_embedded.child import Child, Ended, ServerError
from waggle_embedded.follower import in_full
from waggle_embedded.placement import free_port, make_folder, reachable_folder, server_account, temporary_folder
from waggle_embedded.supervisor import Member, StopAsked, Supervisor

DISK_FOR_POSTGRES: Final = 1 << 30
STOP_RANK: Final[Mapping[str, int]] = {"api": 0, "worker": 1, "dlq": 2, "scheduler": 2, "nats": 3, "postgres": 4}
OURS: Final = ("READY_FILE", "METRICS_PORT", "LOG_FORMAT")
"""Variables that only we set, for each service its own."""
SPARED: Final = 2
"""Cores that Postgres, NATS and the other services have for themselves, where there are more."""
EMBEDDED: Final = "embedded"  # in the place of an address that nobody gave


class Refused(Exception):
    """We cannot start like this; the message says what to change."""


def up(
    *,
    port: int | None = None,
    data_dir: Path | None = None,
    app: str = "",
    processes: int | None = None,
    ephemeral: bool = False,
    ready_file: Path | None = None,
) -> int:
    """Run everything until a signal; the exit code. 2: something has to be changed first, 1: something did not work."""
    terminal = Terminal()
    supervisor = Supervisor(terminal)
    try:
        with supervisor.signals(), ExitStack() as stack:
            environ, settings = _environment(port, app, processes)
            data = _data_folder(stack, data_dir, ephemeral)
            stack.enter_context(_only_one(data))
            if ready_file:
                _check_writable(ready_file.absolute().parent, "--ready-file")
            _check_port(settings.api_host, settings.api_port)
            return Stack(supervisor, environ, settings, data, not ephemeral, ready_file).run()
    except (Refused, SettingsError) as error:
        terminal.problem(f"waggle up: {error}")
        return 2
    except Ended as error:
        terminal.problem(f"waggle up: {error.how}")
        terminal.say(f"The end of {error.log}:\n{in_full(error.lines)}" if error.lines else f"{error.log} says nothing about it.")
        return 1
    except ServerError as error:
        terminal.problem(f"waggle up: {error}")
        return 1
    except OSError as error:
        terminal.problem(f"waggle up: {error.filename or 'the system'}: {error.strerror}")
        return 1


def _environment(port: int | None, app: str, processes: int | None) -> tuple[dict[str, str], UpSettings]:
    """What the services get beside their own ports and files: the user's environment, with our options on top."""
    environ = {name: value for name, value in os.environ.items() if name not in {PREFIX + ours for ours in OURS}}
    if app:
        environ["WAGGLE_APP"] = app
    if processes is not None:
        environ["WAGGLE_PROCESSES"] = str(processes)
    if port is not None:
        environ["WAGGLE_API_PORT"] = str(port)
    environ = {name: value for name, value in environ.items() if value or name not in ("WAGGLE_POSTGRES_URL", "WAGGLE_NATS_URL")}
    settings = read(UpSettings, environ, otherwise=dict.fromkeys(("postgres_url", "nats_url"), EMBEDDED))
    for name, url in (("WAGGLE_POSTGRES_URL", settings.postgres_url), ("WAGGLE_NATS_URL", settings.nats_url)):
        environ.pop(f"{name}_FILE", None)  # whoever gave it, a variable, a secret's file or the TOML file: the services get it like our own ones
        if url != EMBEDDED:
            environ[name] = url
    if settings.api_port == 0:
        settings = msgspec.structs.replace(settings, api_port=free_port())
    if settings.processes == 0:
        settings = msgspec.structs.replace(settings, processes=max(1, cores() - SPARED))
    environ["WAGGLE_API_PORT"] = str(settings.api_port)
    environ["WAGGLE_PROCESSES"] = str(settings.processes)
    return environ, settings


def _data_folder(stack: ExitStack, data_dir: Path | None, ephemeral: bool) -> Path:
    if ephemeral and data_dir:
        raise Refused("--ephemeral forgets everything and --data-dir keeps it: give one of them")
    data = stack.enter_context(temporary_folder()) if ephemeral else (data_dir or Path(".waggle")).absolute()
    if not data.exists():
        (make_folder(data) / ".gitignore").write_text("*\n")
    _check_writable(data, "--data-dir")
    for part in ("run", "logs"):
        make_folder(data / part)
    return data


def _check_writable(folder: Path, option: str) -> None:
    if not folder.is_dir():
        raise Refused(f"{folder} is not a folder; choose another with {option}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Refused(f"cannot write in {folder}; choose another with {option}")


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Hold the lock of the data folder; the kernel lets go of it when we die."""
    with (data / "run" / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Refused(f"another `waggle up` (process {lock.read().strip()}) runs in {data}; stop it, or choose another folder with --data-dir") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _check_port(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise Refused(f"the API cannot listen on {host}:{port} ({error.strerror}); choose another port with --port") from None


@dataclass
class Stack:
    """Everything that one `up` runs."""

    supervisor: Supervisor
    environ: dict[str, str]
    settings: UpSettings
    data: Path
    kept: bool
    ready_file: Path | None
    servers: Path = field(init=False)

    def __post_init__(self) -> None:
        self.own_postgres = not self.environ.get("WAGGLE_POSTGRES_URL")
        self.own_nats = not self.environ.get("WAGGLE_NATS_URL")
        self.servers = reachable_folder(self.data) if self.own_postgres else self.data
        self.supervisor.changed = self.announce

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    def run(self) -> int:
        """Start, watch, stop."""
        terminal = self.supervisor.screen
        self._forget_announcement()
        if self.own_postgres:
            server_account(self.servers / "postgres" / "cluster")  # before NATS leaves its files in somebody else's folder
        self._check_disk()
        try:
            terminal.say("Starting Waggle …")
            self.supervisor.start(*self._server_members())
            self.supervisor.run_once("migrate", services.launch("waggle.store.migrate", "migrate", self.environ, run=self.data / "run", logs=self.logs))
            self.supervisor.start(*[self._service_member(service, name) for service in services.SERVICES for name in self._processes(service)])
            self.announce()
            terminal.say(announcement.banner(self._facts()["api_url"], self.data, self.servers, kept=self.kept, embedded=(self.own_postgres, self.own_nats)))
            self.supervisor.watch()
        except StopAsked:
            pass
        finally:
            self._forget_announcement()
            terminal.say("Stopping …")
            self.supervisor.stop()
        terminal.say("Stopped." if not self.kept else f"Stopped. The data is kept in {self.data}")
        return 0

    def _check_disk(self) -> None:
        needed = DISK_FOR_POSTGRES * self.own_postgres + self.settings.work_max_bytes * 5 // 4 * self.own_nats
        free = shutil.disk_usage(make_folder(self.servers)).free
        if free < needed:
            raise Refused(f"too little disk: {self.servers} has {free >> 20} MiB free, Waggle needs {needed >> 20} MiB; choose another folder with --data-dir")

    def _server_members(self) -> list[Member]:
        members = []
        if self.own_nats:
            members.append(self._server_member("nats", nats.launch))
        if self.own_postgres:
            members.append(self._server_member("postgres", postgres.launch))
        return members

    def _server_member(self, name: str, start: Callable[..., postgres.Postgres | nats.Nats]) -> Member:
        """A server that, once it was ready, always comes back on the same port: the services know it by that."""
        port = 0

        def launch() -> Child:
            nonlocal port
            server = start(self.servers / name, port=port if member.was_ready else 0, log=self.logs / f"{name}.log")
            port = server.port
            self.environ[f"WAGGLE_{name.upper()}_URL"] = server.url
            return server

        member = Member(name, launch, STOP_RANK[name], ready_within=600.0, grace=30.0, tries=6, follow=False)
        return member

    def _processes(self, service: str) -> list[str]:
        return services.names(service, self.settings.processes if service == "worker" else 1)

    def _service_member(self, service: str, name: str) -> Member:
        environ = {**self.environ, "WAGGLE_METRICS_PORT": str(free_port())}
        grace = self.settings.grace + 10

        def launch() -> Child:
            return services.launch(f"waggle_{service}", name, environ, run=self.data / "run", logs=self.logs)

        return Member(name, launch, STOP_RANK[service], grace=grace)

    def _facts(self) -> dict[str, Any]:
        # The processes of a service that has several are called worker-1, worker-2, …
        running = [(member.name.partition("-")[0], member.child) for member in self.supervisor.members if member.child]
        return announcement.facts(self.environ["WAGGLE_POSTGRES_URL"], self.environ["WAGGLE_NATS_URL"], running)

    def announce(self) -> None:
        """Write the ready file anew: all are ready, and the processes are these."""
        for path in self._announced():
            announcement.write(path, self._facts())

    def _forget_announcement(self) -> None:
        for path in self._announced():
            path.unlink(missing_ok=True)

    def _announced(self) -> list[Path]:
        return [self.data / "up.json", *([self.ready_file] if self.ready_file else [])]
