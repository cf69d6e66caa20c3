"""The command line: `waggle COMMAND`. What a command needs is imported when it runs, so that `--help` is fast.

Exit codes: 0 done, 1 failed or refused, 2 wrong usage or settings, 3 not found, 4 the API is unreachable, 141 the reader of the output has gone.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Group, Parameter

from waggle_cli.commands import services
from waggle_cli.commands.completion import Shell
from waggle_cli.commands.explain import explain
from waggle_cli.commands.parameters import Url, examples
from waggle_cli.commands.usage import format_error
from waggle_cli.views.show import Output, end_without_reader
from waggle_cli.views.terminal import write_any_text


def _version() -> str:
    from importlib.metadata import version

    return version("waggle-cli")


WORK: Final = Group("Tasks and queues", sort_key=1)
RUN: Final = Group("Run", sort_key=2)
OPERATE: Final = Group("Set up and operate", sort_key=3)
SETTINGS: Final = "The settings are WAGGLE_ variables; `waggle config show` lists them with their sources.\n"
MIGRATE_EPILOGUE: Final = f"""\
By default the servers are those of the `waggle up` that runs in this folder or
in one above it.

Examples:
  waggle migrate
  waggle migrate --sql | less
  waggle migrate --check

{SETTINGS}"""

Switch = Annotated[bool, Parameter(negative="", show_default=False)]

app = App(
    name="waggle",
    version=_version,
    help_format="plaintext",
    error_formatter=format_error,
    help="""Waggle runs background work that must not be lost.

`waggle up` starts everything on this machine. In production run `waggle migrate` once, then one or more of each service: `waggle api`, \
`waggle worker`, `waggle dlq` and `waggle scheduler`. WAGGLE_ variables hold their settings.

The commands for tasks and queues call the API at --url, else at WAGGLE_URL, else that of the `waggle up` in this folder or in one above it. \
They print tables for people and JSON for scripts (-o json or -o jsonl). Exit codes: 0 done, 1 refused, 2 wrong usage, 3 not found, 4 unreachable.
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


def _group(name: str, group: Group, help: str, sort_key: int | None = None) -> None:  # noqa: A002  # cyclopts' name
    """A group of commands, imported when it is used."""
    app.command(f"waggle_cli.commands.{name}:app", name=name, group=group, sort_key=sort_key, help=help)


_group("tasks", WORK, "Submit, list, show, explain, watch, cancel and purge tasks.", 0)
_group("dlq", WORK, "List, group, retry and remove dead letters. Alone: run the dead letter service.", 1)
_group("queues", WORK, "List queues, show one, pause and resume them, cancel their waiting tasks.", 2)
_group("workers", WORK, "List workers: which are alive, which queues they serve, how many tasks they run.", 3)
_group("types", WORK, "Show the task types: their defaults, and the payload that each expects.", 4)
_group("alerts", WORK, "List what fires; test the webhook.", 7)
_group("rejected", WORK, "Submissions over NATS that were not accepted: list, show, resubmit.", 8)
_group("breakers", WORK, "List circuit breakers, show one, reset one.", 5)
app.command(
    explain,
    group=WORK,
    sort_key=6,
    usage="Usage: waggle explain [OPTIONS] [ID]",
    help_epilogue=examples("waggle explain", "waggle explain ID", "waggle explain -o json | jq .items"),
)
_group("users", OPERATE, "Users: list, create, change, delete.")
_group("keys", OPERATE, "API keys: list, create, replace the secret, revoke.")
_group("publishers", OPERATE, "Who may publish tasks to NATS: list, add, rotate, remove.")
_group("blocks", OPERATE, "Addresses that may not sign in: list, block, lift.")
app.command("waggle_cli.commands.audit_log:app", name="audit-log", group=OPERATE, help="The audit trail: who did what, and whether it was changed.")
_group("config", OPERATE, "Show the settings, and where each one comes from.")
_group("nats", OPERATE, "Configure a NATS server for Waggle.")
_group("doctor", OPERATE, "Check everything that Waggle depends on, and advise on problems.")
_group("audit", OPERATE, "Check that every task is consistent; with --repair, fix what is not.")
app.command(services.up, group=RUN, help_epilogue="Examples:\n  waggle up --app shop.tasks:app\n  waggle up --ephemeral --port 0 --ready-file ready.json\n")
app.command(services.api, group=RUN, help_epilogue=SETTINGS)
app.command(services.worker, group=RUN, help_epilogue=f"Examples:\n  waggle worker --app shop.tasks:app --concurrency 100 --processes 4\n\n{SETTINGS}")
app.command(services.scheduler, group=RUN, help_epilogue=SETTINGS)


@app.command(group=OPERATE, help_epilogue=MIGRATE_EPILOGUE)
def migrate(*, sql: Switch = False, check: Switch = False) -> int:
    """Bring the database and the streams up to date. Safe to repeat.

    The tables are in a Postgres schema of their own (WAGGLE_POSTGRES_SCHEMA). It succeeds without NATS: the scheduler creates missing streams later.

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
    from waggle_cli.commands import migrate as migration
    from waggle_cli.rest.running import servers

    if sql and check:
        print("waggle migrate: --sql and --check exclude each other", file=sys.stderr)
        return 2
    run = migration.print_sql if sql else migration.check if check else migration.apply
    try:
        return run(read(CommandLineSettings, os.environ, servers(Path.cwd())))
    except SettingsError as error:
        print(f"waggle migrate: invalid settings\n{error}", file=sys.stderr)
        return 2


@app.command(group=OPERATE, help_epilogue="Examples:\n  waggle login anna\n  waggle login anna --password-stdin < password\n")
def login(name: str, /, *, password_stdin: Switch = False, url: Url = "") -> int:
    """Sign in with a name and a password. The commands that follow use this login, unless WAGGLE_API_KEY is set.

    The login is kept in ~/.config/waggle/logins.json, which only you can read, and lasts 30 days.

    Parameters
    ----------
    name
        The user's name.
    password_stdin
        Read the password from standard input.
    """
    from waggle_cli.commands.login import login as sign_in

    return sign_in(name, url, from_stdin=password_stdin)


@app.command(group=OPERATE, help_epilogue="Examples:\n  waggle logout\n  waggle logout --everywhere\n")
def logout(*, everywhere: Switch = False, url: Url = "") -> int:
    """Sign out.

    Parameters
    ----------
    everywhere
        End all logins of this user, on other machines too.
    """
    from waggle_cli.commands.login import logout as sign_out

    return sign_out(url, everywhere=everywhere)


@app.command(group=OPERATE, help_epilogue="Examples:\n  source <(waggle completion bash)\n")
def completion(shell: Shell, /) -> int:
    """Print the script with which a shell completes commands, options and, from a running API, names and ids.

    `waggle --install-completion` installs it for your shell. By hand: `source <(waggle completion bash)`.

    Parameters
    ----------
    shell
        bash, zsh or fish.
    """
    from waggle_cli.commands.completion import script

    return script(app, shell)


for flag in ("--help", "--version"):
    app[flag].group = (OPERATE,)
app.register_install_completion_command(group=OPERATE, help="Install the completion for your shell.")


def main() -> None:
    """The entry point of the `waggle` command."""
    if os.name == "nt":  # not in waggle.machine: to import it would double the time of `--help`
        print("waggle: the command line and the services need Linux or macOS; on Windows, run them in WSL 2", file=sys.stderr)
        sys.exit(2)
    write_any_text()
    app.console = Output()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        end_without_reader()


if __name__ == "__main__":
    main()
