"""The commands that run something: `up`, `api`, `worker`, `scheduler`. (`waggle dlq` runs the dlq service.)"""

import contextlib
import os
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from waggle_cli.commands.installed import require, run_service

SERVICES: Final = ("waggle_api", "waggle_worker", "waggle_dlq", "waggle_scheduler")

Processes = Annotated[int | None, Parameter(validator=Number(gte=1, lte=1000))]


def up(
    *,
    port: Annotated[int | None, Parameter(validator=Number(gte=0, lte=65535))] = None,
    data_dir: Path | None = None,
    app: Annotated[str, Parameter(show_default=False)] = "",
    processes: Processes = None,
    ephemeral: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    ready_file: Path | None = None,
    no_auth: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Run everything on this machine: Postgres, NATS and all services, until Ctrl-C.

    To use servers of your own, set WAGGLE_POSTGRES_URL or WAGGLE_NATS_URL. The services get all WAGGLE_ variables.

    Parameters
    ----------
    port
        The API's port: WAGGLE_API_PORT or 8420 by default; 0 takes a free one.
    data_dir
        The folder for data, logs and `up.json` (default .waggle).
    app
        Your handlers, `module:attribute`, found from the current folder (WAGGLE_APP).
    processes
        Number of worker processes (WAGGLE_PROCESSES); the default is the number of cores minus two, at least one.
    ephemeral
        Use a temporary folder, and delete all data at the end.
    ready_file
        A file to write once everything is ready, with all addresses, process ids and an API key. It is removed at the stop.
    no_auth
        Ask nobody for an API key: every user of this machine may do everything (WAGGLE_API_AUTH=none).
    """
    require("waggle up", "waggle[up]", "waggle_embedded", *SERVICES)
    from waggle_cli.commands.up import up

    return up(port=port, data_dir=data_dir, app=app, processes=processes, ephemeral=ephemeral, ready_file=ready_file, no_auth=no_auth)


def api() -> None:
    """Run the API, which accepts tasks over REST."""
    run_service("api")


def worker(*, app: str | None = None, concurrency: int | None = None, queues: str | None = None, processes: Processes = None) -> int | None:
    """Run a worker, which claims tasks and runs their handlers.

    Parameters
    ----------
    app
        Your handlers, `module:attribute`, found from the current folder (WAGGLE_APP).
    concurrency
        Maximum number of tasks that run at the same time in one process (WAGGLE_CONCURRENCY).
    queues
        The queues to serve, separated by commas (WAGGLE_QUEUES); the default is `default` and the queues of the handlers.
    processes
        Number of worker processes; one that dies is restarted (WAGGLE_PROCESSES).
    """
    for name, value in (("WAGGLE_APP", app), ("WAGGLE_CONCURRENCY", concurrency), ("WAGGLE_QUEUES", queues), ("WAGGLE_PROCESSES", processes)):
        if value is not None:
            os.environ[name] = str(value)
    require("waggle worker", "waggle[worker]", "waggle_worker")
    from waggle.settings.environment import read
    from waggle.settings.services import WorkerSettings
    from waggle.settings.shared import SettingsError

    with contextlib.suppress(SettingsError):  # the worker itself reports them
        settings = read(WorkerSettings, os.environ)
        if settings.processes > 1:
            require("waggle worker with several processes", "waggle-embedded", "waggle_embedded")
            from waggle_embedded.worker_processes import run

            return run(settings)
    run_service("worker")
    return None


def scheduler() -> None:
    """Run the scheduler: it rings due tasks, takes back lost ones, fails overdue ones, deletes expired ones."""
    run_service("scheduler")
