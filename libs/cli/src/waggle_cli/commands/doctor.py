"""`waggle doctor`: checks the deployment and shows the findings."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from cyclopts import App

from waggle_cli.commands.parameters import TableOrJson, Url
from waggle_cli.commands.session import Exit

EPILOGUE: Final = """\
The doctor reads Postgres and NATS directly, at WAGGLE_POSTGRES_URL and
WAGGLE_NATS_URL (see `waggle config show`). By default these are the servers of
the `waggle up` that runs in this folder or in one above it. It changes nothing,
and every check has a time limit.

Examples:
  waggle doctor
  waggle doctor -o json

Exit codes:
  0  no errors found
  1  errors found
  2  wrong usage, or invalid settings
  4  neither Postgres nor NATS can be reached
"""

app = App(name="doctor", help_epilogue=EPILOGUE)


@app.default
def doctor(*, output: TableOrJson = "table", url: Url = "") -> int:
    """Check servers, versions, schema, streams, clocks, disks, services and tasks, and advise on every problem."""
    from waggle.settings.shared import SettingsError
    from waggle_cli.doctor import report
    from waggle_cli.doctor.findings import Level
    from waggle_cli.rest.errors import WrongUrl

    try:
        deployment = _deployment(url)
        found = asyncio.run(_examine(deployment))
    except (SettingsError, WrongUrl) as error:
        print(f"waggle doctor: invalid settings\n{error}", file=sys.stderr)
        return Exit.USAGE
    if output == "json":
        report.as_json(found)
    else:
        report.as_table(found)
    if deployment.postgres_error and deployment.nats_error:
        return Exit.UNAVAILABLE
    return Exit.REFUSED if any(finding.level == Level.ERROR for _, finding in found) else Exit.OK


def _deployment(url: str) -> Any:
    """The deployment to check. Raises SettingsError (also if there is none at all) and WrongUrl."""
    from waggle.settings.environment import read
    from waggle.settings.services import CommandLineSettings
    from waggle.settings.shared import SettingsError
    from waggle_cli.doctor.deployment import Deployment
    from waggle_cli.rest.address import find
    from waggle_cli.rest.errors import Unreachable
    from waggle_cli.rest.running import announced, servers

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
    addresses = running.get("metrics_urls", {}) if settings.postgres_url == running.get("postgres_url") else {}
    several = {service: urls if isinstance(urls, list) else [urls] for service, urls in addresses.items()}
    return Deployment(settings, data=data, api_url=api_url, metrics_urls=several)


async def _examine(deployment: Any) -> list[Any]:
    import structlog

    from waggle_cli.doctor.checks import examine

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))  # errors are part of the findings
    async with AsyncExitStack() as stack:
        await deployment.connect(stack)
        return await examine(deployment)
