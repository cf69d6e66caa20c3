"""API, scheduler and worker for all tests of a module, with their own database and NATS server; the tests must not interfere with each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.fleet import FleetSettings
from support.processes import Process, end, launch, ready
from support.servers import NatsServer, PostgresServer, run


@dataclass
class OneSystem:
    """The processes; the handlers append a line for each thing they did to `effects`."""

    settings: FleetSettings
    api: Process
    worker: Process
    effects: Path

    def did(self, what: str, task_id: object) -> list[str]:
        """The effects of a task whose names begin with a prefix."""
        lines = (line.split() for line in self.effects.read_text().splitlines())
        return [done for done, task, _attempt, _nonce in lines if done.startswith(what) and task == str(task_id)]


@contextmanager
def one_system(postgres: PostgresServer, folder: Path, name: str, **changes: object) -> Iterator[OneSystem]:
    """A system that is ready; `name` names its database, `changes` its settings. Fails unless it ends with code 0."""
    folder = folder / name
    folder.mkdir(mode=0o711)
    effects = folder / "effects"
    effects.touch()
    nats = NatsServer(folder / "nats")
    try:
        with postgres.fresh_database(name) as database:
            fields: dict[str, object] = {"lease": 2.0, "grace": 2.0, "app": "support.handlers:app", **changes}
            settings = FleetSettings(postgres_url=database, nats_url=nats.url, api_port=0, **fields)  # type: ignore[arg-type]
            api, scheduler, worker = (launch(service, settings, folder, environ={"EFFECTS": str(effects)}) for service in ("api", "scheduler", "worker"))
            try:
                run(ready(api, scheduler, worker))
                yield OneSystem(settings, api, worker, effects)
            finally:
                run(end(api, scheduler, worker))
    finally:
        nats.kill()
