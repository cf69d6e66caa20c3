"""Everything that one `waggle up` runs: the order of the start and of the stop, the ready file, the banner. The supervisor keeps the processes alive."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import msgspec

from waggle import machine
from waggle.bus.users import NatsPublisher
from waggle.settings.services import UpSettings
from waggle.settings.shared import SettingsError
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_embedded import announcement, dead_workers, first_key, nats, postgres, publishers, services
from waggle_embedded.child import ChildExited, ServerProcess
from waggle_embedded.data_folder import CannotStart
from waggle_embedded.placement import free_port, make_folder, reachable_folder, server_account
from waggle_embedded.supervisor import Member, StopAsked, Supervisor

POSTGRES_BYTES: Final = 1 << 30  # of free disk
PROMETHEUS_FILE: Final = "prometheus.yml"
STOP_RANK: Final[Mapping[str, int]] = {"api": 0, "worker": 1, "dlq": 2, "scheduler": 2, "nats": 3, "postgres": 4}


@dataclass
class Stack:
    """The processes of one `waggle up`. `kept`: the data folder stays after the stop. `umask`: the user's, for the files that handlers write."""

    supervisor: Supervisor
    environ: dict[str, str]
    settings: UpSettings
    data: Path
    kept: bool
    ready_file: Path | None
    umask: int
    servers: Path = field(init=False)
    access: first_key.Access = field(init=False, default=first_key.Access("", None))
    nats_urls: dict[str, str] = field(init=False, default_factory=dict)  # by service: each has a user of its own
    nats_server: nats.Nats | None = field(init=False, default=None)
    publisher_url: str = field(init=False, default="")
    publisher_password: str = field(init=False, default="")
    stopping: Event = field(init=False, default_factory=Event)

    def __post_init__(self) -> None:
        self.own_postgres = not self.environ.get("WAGGLE_POSTGRES_URL")
        self.own_nats = not self.environ.get("WAGGLE_NATS_URL")
        self.servers = reachable_folder(self.data) if self.own_postgres else self.data
        self.supervisor.changed = self.announce

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    def run(self) -> int:
        """Start, watch, stop; the exit code. Raises CannotStart or ServerError."""
        screen = self.supervisor.screen
        self._remove_announcement()
        if self.own_postgres:
            server_account(self.servers / "postgres" / "cluster")  # raises before NATS leaves its files in another user's folder
        self._check_disk()
        try:
            screen.say("Starting Waggle …")
            self._check_app()
            self.supervisor.start(*self._server_members())
            self.supervisor.run_once("migrate", self._launch("waggle.store.migrate", "migrate", self.environ))
            self._make_key()
            self._make_publisher()
            self.supervisor.start(*[self._service_member(service, name) for service in services.SERVICES for name in self._processes(service)])
            self.announce()
            embedded = (self.own_postgres, self.own_nats)
            screen.say(announcement.banner(self._facts()["api_url"], self.data, self.servers, kept=self.kept, embedded=embedded, access=self.access))
            self.supervisor.watch()
        except StopAsked:
            pass
        finally:
            self._remove_announcement()
            self.stopping.set()
            screen.say("Stopping …")
            self.supervisor.stop()
        screen.say(f"Stopped. The data is kept in {self.data}" if self.kept else "Stopped.")
        return 0

    def _check_app(self) -> None:
        """The user's handlers are checked before anything else is started. Raises SettingsError with what is wrong."""
        if not self.settings.app:
            return
        try:
            self.supervisor.run_once("app", services.launch_check(self.environ, run=self.data / "run", logs=self.logs))
        except ChildExited as error:
            if error.code == services.ServiceProcess.misconfigured:
                raise SettingsError(error.lines) from error
            raise

    def _make_key(self) -> None:
        """The API and the command line share a key, unless nobody is to be asked for one."""
        if self.settings.api_auth == "none":
            return
        secret = self.environ["WAGGLE_API_SECRET"] = self.settings.api_secret or first_key.secret(self.data)
        self.environ.pop("WAGGLE_API_SECRET_FILE", None)
        settings = msgspec.structs.replace(self.settings, postgres_url=self.environ["WAGGLE_POSTGRES_URL"])
        try:
            self.access = first_key.access(self.data, settings, secret)
        except POSTGRES_OUTAGE as error:
            raise CannotStart(f"Postgres does not take the API key of this folder: {error}") from error

    def _make_publisher(self) -> None:
        """Who may publish to NATS: everybody on a server of the user's own without users, else the publisher `default` and those that are added."""
        if not self.own_nats:
            self.publisher_url = self.environ["WAGGLE_NATS_URL"]
            return
        settings = msgspec.structs.replace(self.settings, postgres_url=self.environ["WAGGLE_POSTGRES_URL"])
        try:
            self.publisher_password = publishers.make_default(self.data, settings, self.environ.get("WAGGLE_API_SECRET", ""))
        except POSTGRES_OUTAGE as error:
            raise CannotStart(f"Postgres does not take the publisher of this folder: {error}") from error
        publishers.keep(settings, self._let_in, self.stopping)

    def _let_in(self, them: list[NatsPublisher]) -> None:
        if self.nats_server is not None and self.nats_server.alive:
            self.nats_server.let_in(them)

    def _check_disk(self) -> None:
        needed = POSTGRES_BYTES * self.own_postgres + self.settings.work_max_bytes * 5 // 4 * self.own_nats
        free = shutil.disk_usage(make_folder(self.servers)).free
        if free < needed:
            raise CannotStart(
                f"too little disk: {self.servers} has {free >> 20} MiB free, Waggle needs {needed >> 20} MiB; choose another folder with --data-dir"
            )

    def _server_members(self) -> list[Member]:
        members = []
        if self.own_nats:
            members.append(self._server_member("nats", nats.launch))
        if self.own_postgres:
            members.append(self._server_member("postgres", postgres.launch))
        return members

    def _server_member(self, name: str, start: Callable[..., postgres.Postgres | nats.Nats]) -> Member:
        """A server that, once it was ready, always restarts on the same port: the services know it by that port."""
        port = 0

        def launch() -> ServerProcess:
            nonlocal port
            server = start(self.servers / name, port=port if member.was_ready else 0, log=self.logs / f"{name}.log")
            port = server.port
            self.environ[f"WAGGLE_{name.upper()}_URL"] = server.url
            if isinstance(server, nats.Nats):
                self.nats_server = server
                self.nats_urls = {service: server.url_of(service) for service in services.SERVICES}
            return server

        member = Member(name, launch, STOP_RANK[name], ready_within=600.0, grace=30.0, tries=6, follow=False)
        return member

    def _launch(self, module: str, name: str, environ: Mapping[str, str]) -> services.ServiceProcess:
        return services.launch(module, name, environ, run=self.data / "run", logs=self.logs, umask=self.umask)

    def _processes(self, service: str) -> list[str]:
        return services.names(service, self.settings.processes if service == "worker" else 1)

    def _service_member(self, service: str, name: str) -> Member:
        environ = {"WAGGLE_DISKS": str(self.servers), **self.environ, "WAGGLE_METRICS_PORT": str(free_port())}
        if service in self.nats_urls:
            environ["WAGGLE_NATS_URL"] = self.nats_urls[service]
        grace = self.settings.grace + 10

        def launch() -> ServerProcess:
            if service == "worker":
                environ["WAGGLE_LEASE_TOKEN"] = dead_workers.new_token()
            return self._launch(f"waggle_{service}", name, environ)

        def died() -> Thread:
            return dead_workers.end_leases(environ, lambda text: self.supervisor.screen.line(name, "warning", text))

        return Member(name, launch, STOP_RANK[service], grace=grace, died=died if service == "worker" else None)

    def _facts(self) -> dict[str, Any]:
        # Several processes of one service are called worker-1, worker-2, …
        running = [(member.name.partition("-")[0], member.child) for member in self.supervisor.members if member.child]
        server, urls = self.nats_server, (self.environ["WAGGLE_POSTGRES_URL"], self.environ["WAGGLE_NATS_URL"])
        publisher = self.publisher_url if server is None else server.publisher_url(publishers.DEFAULT, self.publisher_password)
        return announcement.facts(*urls, running, api_key=self.access.key, publisher_url=publisher)

    def announce(self) -> None:
        """Write the ready files: all processes are ready, and these are their addresses and pids."""
        facts = self._facts()
        for path in self._announced():
            machine.write_private(path, json.dumps(facts, indent=2) + "\n")
        machine.write_private(self.data / PROMETHEUS_FILE, announcement.prometheus(facts["metrics_urls"]))

    def _remove_announcement(self) -> None:
        for path in (*self._announced(), self.data / PROMETHEUS_FILE):
            path.unlink(missing_ok=True)

    def _announced(self) -> list[Path]:
        return [self.data / "up.json", *([self.ready_file] if self.ready_file else [])]
