"""Free disk space, for folders on this machine."""

import shutil
from pathlib import Path
from typing import Final

from waggle.store import diagnosis
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, error, ok, warning

LOW_BYTES: Final = 2 << 30
CRITICAL_BYTES: Final = 256 << 20
LOCAL: Final = ("@127.0.0.1", "@localhost", "@[::1]", "@/", "@:")


async def space(deployment: Deployment) -> list[Finding]:
    """The folder of `waggle up`, and Postgres' data folder if it is local and readable."""
    folders = [deployment.data] if deployment.data else []
    if deployment.database and any(host in deployment.settings.postgres_url for host in LOCAL):
        folder = (await diagnosis.server(deployment.database))["folder"]
        folders += [Path(folder)] if folder else []
    return [found for folder in folders if (found := _free(folder))]


def _free(folder: Path) -> Finding | None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # on another machine, or not accessible
        return None
    what = f"{free / 2**30:,.1f} GiB free in {folder}"
    advice = "free some space, or move the data to a larger disk: a full disk stops Postgres, and makes NATS lose doorbells silently"
    return error(what, advice) if free < CRITICAL_BYTES else warning(what, advice) if free < LOW_BYTES else ok(what)
