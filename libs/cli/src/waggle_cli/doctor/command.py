"""The command `waggle doctor`: finds the system, has it examined, and shows what was found."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from waggle_cli.session import Exit

EPILOGUE: Final = """\
It asks Postgres and NATS themselves, at WAGGLE_POSTGRES_URL and
WAGGLE_NATS_URL (see `waggle config show`); what is not set is that of the
`waggle up` which runs in this folder or in one above it. It only reads, and
waits nowhere for long.

Examples:
  waggle doctor
  waggle doctor -o json

Exit codes:
  0  no error was found
  1  an error was found
  2  wrong usage, or invalid settings
  4  neither Postgres nor NATS can be reached
"""

app = App(name="doctor", help_epilogue=EPILOGUE)

Output = Annotated[Literal["table", "json"], Parameter(name=("--output", "-o"), help="table is for people, json for programs.")]
Url = Annotated[str, Parameter(help="The API's address; else WAGGLE_URL, else that of the `waggle up` of this folder.", show_default=False)]


@app.default
def doctor(*, output: Output = "table", url: Url = "") -> int:
    """Look at servers, versions, schema, streams, clocks, disks, services and tasks, and advise on whatever is not well."""
    from waggle.settings.shared import SettingsError
    from waggle_cli.client import WrongUrl
    from waggle_cli.doctor import report
    from waggle_cli.doctor.findings import Level

    try:
        patient = _patient(url)
        found = asyncio.run(_examine(patient))
    except (SettingsError, WrongUrl) as error:
        print(f"waggle doctor: invalid settings\n{error}", file=sys.stderr)
        return Exit.USAGE
    if output == "json":
        report.as_json(found)
    else:
        report.as_table(found)
    if patient.postgres_error and patient.nats_error:
        return Exit.UNAVAILABLE
    return Exit.REFUSED if any(finding.level == Level.ERROR for _, finding in found) else Exit.OK


def _patient(url: str) -> Any:
    """Who is examined. Raises SettingsError, also for no system at all, and WrongUrl."""
    from waggle.settings.environment import read
    from waggle.settings.services import CommandLineSettings
    from waggle.settings.shared import SettingsError
    from waggle_cli.client import Unreachable, find
    from waggle_cli.doctor.patient import Patient
    from waggle_cli.running import announced, servers

    folder = Path.cwd()
    data, running = announced(folder)
    try:
        settings = read(CommandLineSettings, os.environ, otherwise=servers(folder))
    except SettingsError as error:
        if running or "is missing" not in str(error):
            raise
        raise SettingsError(f"{error}\n(and no `waggle up` runs in this folder or in one above it)") from None
    try:
        api_url = find(url, os.environ, folder).url
    except Unreachable:
        api_url = ""
    return Patient(settings, data=data, api_url=api_url)


async def _examine(patient: Any) -> list[Any]:
    import structlog

    from waggle_cli.doctor.checks import examine

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))  # what goes wrong is in the findings
    async with AsyncExitStack() as stack:
        await patient.admit(stack)
        return await examine(patient)
