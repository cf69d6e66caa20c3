"""The command `waggle audit`."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from waggle_cli.options import seconds
from waggle_cli.session import Exit, tell

EPILOGUE: Final = """\
It asks Postgres and NATS themselves, at WAGGLE_POSTGRES_URL and
WAGGLE_NATS_URL (see `waggle config show`); what is not set is that of the
`waggle up` which runs in this folder or in one above it. It may run at any
time: what is wrong for a moment only, because work is under way, is not
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
    repair: Annotated[bool, Parameter(negative="")] = False,
    wait: Length = 5.0,
    since: Annotated[float | None, Parameter(converter=seconds, metavar="SECONDS")] = None,
    output: Annotated[Literal["table", "json"], Parameter(name=("--output", "-o"))] = "table",
) -> int:
    """Check that every task is in exactly one place, with its doorbell, its worker and its attempts in order.

    Parameters
    ----------
    repair
        Do once what the loops would: take back, fail, ring, remove.
    wait
        How long to look again and again while something does not hold: seconds, or a length such as 2m.
    since
        Look at the columns and attempts only of tasks made in this time, such as 24h; else of all.
    output
        table is for people, json for programs.
    """
    import asyncio

    import structlog

    from waggle.settings.environment import read
    from waggle.settings.services import CommandLineSettings
    from waggle.settings.shared import SettingsError
    from waggle_cli.audit import report, rounds
    from waggle_cli.client import Unreachable
    from waggle_cli.running import servers

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))  # what goes wrong is in the report
    try:
        told = asyncio.run(rounds.audit(read(CommandLineSettings, os.environ, servers(Path.cwd())), wait=wait, repair=repair, since=since))
    except SettingsError as error:
        print(f"waggle audit: invalid settings\n{error}", file=sys.stderr)
        return Exit.USAGE
    except Unreachable as error:
        tell("waggle audit", error)
        return Exit.UNAVAILABLE
    if output == "json":
        report.as_json(told)
    else:
        report.as_table(told)
    return Exit.OK if told.seen.holds else Exit.REFUSED
