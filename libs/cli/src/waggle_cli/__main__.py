"""The command line: `waggle COMMAND`. What a command needs is imported when it runs, so that `--help` is quick.

Exit codes: 0 done, 1 it did not work, 2 the command or a setting is wrong.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number


def _version() -> str:
    from importlib.metadata import version

    return version("waggle-cli")


app = App(
    name="waggle",
    version=_version,
    help_format="plaintext",
    help="""Waggle runs background work that must not be lost.

`waggle up` starts everything on this machine. In production run the services one by one: `waggle migrate` first, then `waggle api`, \
`waggle worker`, `waggle dlq` and `waggle scheduler`, each as often as you like, set by `WAGGLE_…` variables.
""",
)

# Sub-apps are imported when they are used.
app.command("waggle_cli.tasks:app", name="tasks", help="Submit tasks, list them, look at one, cancel some.")


@app.command
def up(
    *,
    port: Annotated[int | None, Parameter(validator=Number(gte=0, lte=65535))] = None,
    data_dir: Path | None = None,
    app: str = "",
    ephemeral: Annotated[bool, Parameter(negative="")] = False,
    ready_file: Path | None = None,
) -> int:
    """Run everything on this machine: Postgres, NATS and all services, until Ctrl-C.

    Set WAGGLE_POSTGRES_URL or WAGGLE_NATS_URL to use a server of your own; other WAGGLE_ variables reach the services.

    Parameters
    ----------
    port
        The API's port; 8420 unless WAGGLE_API_PORT says otherwise, 0 takes a free one.
    data_dir
        The folder that keeps the data, the logs and `up.json`; .waggle unless you say otherwise.
    app
        Your handlers, `module:attribute`, found from the current folder.
    ephemeral
        Use a temporary folder and forget everything at the end.
    ready_file
        A file that appears once all is ready, with all addresses and process ids, and disappears at the stop.
    """
    from waggle_cli.up import up

    return up(port=port, data_dir=data_dir, app=app, ephemeral=ephemeral, ready_file=ready_file)


@app.command
def api() -> None:
    """Run the API: the REST door."""
    _run("api")


@app.command
def worker(*, app: str | None = None, concurrency: int | None = None, queues: str | None = None) -> None:
    """Run a worker: it claims tasks and runs their handlers.

    Parameters
    ----------
    app
        Your handlers, `module:attribute`, found from the current folder (WAGGLE_APP).
    concurrency
        How many tasks it runs at once (WAGGLE_CONCURRENCY).
    queues
        The queues it serves, separated by commas (WAGGLE_QUEUES); otherwise `default` and those of its handlers.
    """
    for name, value in (("WAGGLE_APP", app), ("WAGGLE_CONCURRENCY", concurrency), ("WAGGLE_QUEUES", queues)):
        if value is not None:
            os.environ[name] = str(value)
    _run("worker")


@app.command
def dlq() -> None:
    """Run the dead letter service: it removes what was kept long enough."""
    _run("dlq")


@app.command
def scheduler() -> None:
    """Run the scheduler: due tasks, lost doorbells, dead workers, deadlines, retention."""
    _run("scheduler")


@app.command
def migrate() -> int:
    """Bring the database and the streams up to date; safe to repeat.

    A NATS that does not answer is no error: the scheduler creates what is missing there.
    """
    from waggle.settings import SettingsError, read
    from waggle_cli.migrate import migrate

    try:
        return migrate(read(os.environ))
    except SettingsError as error:
        print(f"waggle migrate: wrong settings\n{error}", file=sys.stderr)
        return 2


def _run(service: str) -> None:
    """Run a service in this process, as `python -m waggle_…` does."""
    from runpy import run_module

    run_module(f"waggle_{service}", run_name="__main__", alter_sys=True)


def main() -> None:
    """The entry point of the `waggle` command."""
    app()


if __name__ == "__main__":
    main()
