"""`waggle up`: everything on this machine, in one folder, until Ctrl-C."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from waggle.settings.services import UpSettings, check_auth
from waggle.settings.shared import SettingsError
from waggle_cli.views.terminal import Terminal
from waggle_embedded import environment
from waggle_embedded.child import ChildExited, ServerError
from waggle_embedded.data_folder import CannotStart, check_port, check_writable, prepare
from waggle_embedded.follower import in_full
from waggle_embedded.stack import Stack
from waggle_embedded.supervisor import Supervisor

PRIVATE: Final = 0o077
"""The umask under which everything in the data folder is written."""


def up(*, port: int | None, data_dir: Path | None, app: str, processes: int | None, ephemeral: bool, ready_file: Path | None, no_auth: bool) -> int:
    """Run everything until a signal; the exit code: 2 if something must be changed first, 1 after a failure."""
    terminal = Terminal()
    try:
        with ExitStack() as stack:
            stack.callback(os.umask, umask := os.umask(PRIVATE))
            environ, settings = environment.for_services(port, app, processes, no_auth=no_auth)
            return _run(stack, Supervisor(terminal), environ, settings, data_dir, ready_file, umask, ephemeral=ephemeral)
    except (CannotStart, SettingsError) as error:
        terminal.problem(f"waggle up: {error}")
        return 2
    except ChildExited as error:
        terminal.problem(f"waggle up: {error.how}")
        terminal.say(f"The end of {error.log}:\n{in_full(error.lines)}" if error.lines else f"{error.log} is empty.")
        return 1
    except ServerError as error:
        terminal.problem(f"waggle up: {error}")
        return 1
    except OSError as error:
        terminal.problem(f"waggle up: {error.filename or 'the system'}: {error.strerror}")
        return 1


def _run(
    stack: ExitStack,
    supervisor: Supervisor,
    environ: dict[str, str],
    settings: UpSettings,
    data_dir: Path | None,
    ready_file: Path | None,
    umask: int,
    *,
    ephemeral: bool,
) -> int:
    with supervisor.signals():
        check_auth(settings)
        data = prepare(stack, data_dir, ephemeral=ephemeral)
        if ready_file:
            check_writable(ready_file.absolute().parent, "--ready-file")
        check_port(settings.api_host, settings.api_port)
        return Stack(supervisor, environ, settings, data, kept=not ephemeral, ready_file=ready_file, umask=umask).run()
