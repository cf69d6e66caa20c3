"""`waggle audit`: whether everything holds that must hold at rest."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from waggle_cli.commands.options import seconds
from waggle_cli.commands.parameters import TableOrJson
from waggle_cli.commands.session import Exit, print_error

EPILOGUE: Final = """\
The audit reads Postgres and NATS directly, at WAGGLE_POSTGRES_URL and
WAGGLE_NATS_URL (see `waggle config show`). By default these are the servers of
the `waggle up` that runs in this folder or in one above it. It is safe at any
time: a violation that lasts only a moment, because tasks are running, is not
reported.

Examples:
  waggle audit
  waggle audit --wait 30 -o json
  waggle audit --repair

Exit codes:
  0  everything holds
  1  something does not hold (after the repair, if there was one)
  2  wrong usage, or invalid settings
  4  Postgres or NATS cannot be used
"""

app = App(name="audit", help_epilogue=EPILOGUE)

Length = Annotated[float, Parameter(converter=seconds, metavar="SECONDS")]


@app.default
def audit(
    *,
    repair: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    wait: Length = 5.0,
    since: Annotated[float | None, Parameter(converter=seconds, metavar="SECONDS")] = None,
    output: TableOrJson = "table",
) -> int:
    """Check that every task is consistent: its columns, its attempts, its doorbell, its worker, its deadline.

    Parameters
    ----------
    repair
        Correct odd rows, and do once what the scheduler does: take back lost tasks, fail overdue ones, ring, remove stray doorbells.
    wait
        How long to check again while something does not hold: seconds, or a length such as 2m.
    since
        Check columns and attempts only of tasks created within this time, such as 24h. The default is all tasks.
    """
    import asyncio

    import structlog

    from waggle.audit import rounds
    from waggle.settings.environment import read
    from waggle.settings.services import CommandLineSettings
    from waggle.settings.shared import SettingsError
    from waggle_cli.rest.running import servers
    from waggle_cli.views import audit as view

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))  # errors are part of the report
    try:
        settings = read(CommandLineSettings, os.environ, servers(Path.cwd()))
        report = asyncio.run(rounds.audit(settings, wait=wait, repair=repair, since=since))
    except SettingsError as error:
        print(f"waggle audit: invalid settings\n{error}", file=sys.stderr)
        return Exit.USAGE
    except rounds.CannotAudit as error:
        print_error("waggle audit", error)
        return Exit.UNAVAILABLE
    if output == "json":
        view.as_json(report)
    else:
        view.as_table(report)
    return Exit.OK if report.seen.holds else Exit.REFUSED
