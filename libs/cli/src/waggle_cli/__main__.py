"""The command line: `waggle COMMAND`. What a command needs is imported when it runs, so that `--help` is quick.

Exit codes: 0 done, 1 it did not work, 2 the command or a setting is wrong, 3 not found, 4 the API is not reachable.
"""

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Group, Parameter
from cyclopts.validators import Number

from waggle_cli.completion import Shell
from waggle_cli.usage import told


def _version() -> str:
    from importlib.metadata import version

    return version("waggle-cli")


WORK: Final = Group("Work", sort_key=1)
SERVICES: Final = Group("Run it", sort_key=2)
AROUND: Final = Group("Set up and look after it", sort_key=3)

app = App(
    name="waggle",
    version=_version,
    help_format="plaintext",
    error_formatter=told,
    help="""Waggle runs background work that must not be lost.

`waggle up` starts everything on this machine. In production run the services one by one: `waggle migrate` first, then `waggle api`, \
`waggle worker`, `waggle dlq` and `waggle scheduler`, each as often as you like, set by `WAGGLE_…` variables.

The commands for work speak to the API that --url names, else WAGGLE_URL, else to the `waggle up` of this folder or of one above it. They print \
tables for people and JSON for scripts (-o json or -o jsonl), and end with 0 done, 1 refused, 2 wrong usage, 3 not found, 4 not reachable.
""",
    help_epilogue="""\
Examples:
  waggle up
  waggle tasks submit demo.echo --payload '{"hello": "world"}' --wait 10
  waggle tasks watch
  waggle dlq groups
  waggle --install-completion
""",
)

# Sub-apps are imported when they are used.
app.command("waggle_cli.tasks:app", name="tasks", group=WORK, sort_key=0, help="Submit tasks, list them, look at one, watch them, cancel or purge some.")
app.command(
    "waggle_cli.dlq:app", name="dlq", group=WORK, sort_key=1, help="The dead letters: list, group, try again, remove. Alone: run the dead letter service."
)
app.command("waggle_cli.queues:app", name="queues", group=WORK, sort_key=2, help="Look at queues, pause and resume them, purge what waits.")
app.command("waggle_cli.fleet:workers_app", name="workers", group=WORK, sort_key=3, help="See the workers: which live, what they serve, how much they run.")
app.command("waggle_cli.fleet:types_app", name="types", group=WORK, sort_key=4, help="See the task types: their defaults, and what their payloads must hold.")
app.command("waggle_cli.breakers:app", name="breakers", group=WORK, sort_key=5, help="Look at circuit breakers, and reset one.")
app.command("waggle_cli.config:app", name="config", group=AROUND, help="Look at the settings, and where each one comes from.")
app.command("waggle_cli.doctor.command:app", name="doctor", group=AROUND, help="Look at everything that Waggle stands on, and advise.")
app.command(
    "waggle_cli.audit.command:app", name="audit", group=AROUND, help="Check that every task is in exactly one place; with --repair, put right what is not."
)


@app.command(group=SERVICES)
def up(
    *,
    port: Annotated[int | None, Parameter(validator=Number(gte=0, lte=65535))] = None,
    data_dir: Path | None = None,
    app: str = "",
    processes: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1000))] = None,
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
    processes
        How many workers (WAGGLE_PROCESSES); otherwise one for each core but two, and at least one.
    ephemeral
        Use a temporary folder and forget everything at the end.
    ready_file
        A file that appears once all is ready, with all addresses and process ids, and disappears at the stop.
    """
    from waggle_cli.installed import require
    from waggle_cli.up import up

    require("waggle up", "up", "waggle_api", "waggle_worker", "waggle_dlq", "waggle_scheduler")
    return up(port=port, data_dir=data_dir, app=app, processes=processes, ephemeral=ephemeral, ready_file=ready_file)


@app.command(group=SERVICES)
def api() -> None:
    """Run the API: the REST door."""
    _run("api")


@app.command(group=SERVICES)
def worker(
    *,
    app: str | None = None,
    concurrency: int | None = None,
    queues: str | None = None,
    processes: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1000))] = None,
) -> int | None:
    """Run a worker: it claims tasks and runs their handlers.

    Parameters
    ----------
    app
        Your handlers, `module:attribute`, found from the current folder (WAGGLE_APP).
    concurrency
        How many tasks it runs at once, in each process (WAGGLE_CONCURRENCY).
    queues
        The queues it serves, separated by commas (WAGGLE_QUEUES); otherwise `default` and those of its handlers.
    processes
        How many worker processes; one that dies is started again (WAGGLE_PROCESSES).
    """
    for name, value in (("WAGGLE_APP", app), ("WAGGLE_CONCURRENCY", concurrency), ("WAGGLE_QUEUES", queues), ("WAGGLE_PROCESSES", processes)):
        if value is not None:
            os.environ[name] = str(value)
    from waggle.settings.environment import read
    from waggle.settings.services import WorkerSettings
    from waggle.settings.shared import SettingsError

    with contextlib.suppress(SettingsError):  # the worker itself says what is wrong with them
        settings = read(WorkerSettings, os.environ)
        if settings.processes > 1:
            from waggle_cli.installed import require
            from waggle_cli.workers import run

            require("waggle worker", "worker", "waggle_worker")

            return run(settings)
    _run("worker")
    return None


@app.command(group=SERVICES)
def scheduler() -> None:
    """Run the scheduler: due tasks, lost doorbells, dead workers, deadlines, retention."""
    _run("scheduler")


@app.command(group=AROUND)
def migrate(
    *,
    sql: Annotated[bool, Parameter(negative="")] = False,
    check: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Bring the database and the streams up to date; safe to repeat.

    The tables are in a Postgres schema of their own (WAGGLE_POSTGRES_SCHEMA). If NATS does not answer, the scheduler creates what is missing there.

    Parameters
    ----------
    sql
        Print the SQL that would run on this database, for psql, and change nothing.
    check
        Check that the schema is up to date and complete, and change nothing. If it is not, name what differs; the exit code is 1.
    """
    from waggle.settings.environment import read
    from waggle.settings.services import CommandLineSettings
    from waggle.settings.shared import SettingsError
    from waggle_cli import migrate as migration

    if sql and check:
        print("waggle migrate: --sql and --check exclude each other", file=sys.stderr)
        return 2
    run = migration.print_sql if sql else migration.check if check else migration.apply
    try:
        return run(read(CommandLineSettings, os.environ))
    except SettingsError as error:
        print(f"waggle migrate: invalid settings\n{error}", file=sys.stderr)
        return 2


@app.command(group=AROUND)
def completion(shell: Shell, /) -> int:
    """Print the script that makes a shell complete commands, options and, from a running API, names and ids.

    `waggle --install-completion` puts it where your shell finds it. By hand: `source <(waggle completion bash)`.

    Parameters
    ----------
    shell
        bash, zsh or fish.
    """
    from waggle_cli.completion import script

    return script(app, shell)


for flag in ("--help", "--version"):
    app[flag].group = (AROUND,)
app.register_install_completion_command(group=AROUND, help="Put the completion where your shell finds it.")


def _run(service: str) -> None:
    from waggle_cli.installed import run_service

    run_service(service)


def main() -> None:
    """The entry point of the `waggle` command."""
    if os.name == "nt":  # not in waggle.machine: to import it would double the time of `--help`
        print("waggle: the command line and the services need Linux or macOS; on Windows, run them in WSL 2", file=sys.stderr)
        sys.exit(2)
    app()


if __name__ == "__main__":
    main()
