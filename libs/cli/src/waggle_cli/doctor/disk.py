"""Disks, as far as they are this machine's."""

import shutil
from pathlib import Path
from typing import Final

from waggle.store import diagnosis
from waggle_cli.doctor.findings import Finding, error, ok, warning
from waggle_cli.doctor.patient import Patient

LITTLE: Final = 2 << 30  # bytes
LEAST: Final = 256 << 20
HERE: Final = ("@127.0.0.1", "@localhost", "@[::1]", "@/", "@:")


async def space(patient: Patient) -> list[Finding]:
    """The folder of `waggle up`, and that of Postgres where it is here and tells it."""
    folders = [patient.data] if patient.data else []
    if patient.database and any(here in patient.settings.postgres_url for here in HERE):
        folder = (await diagnosis.server(patient.database))["folder"]
        folders += [Path(folder)] if folder else []
    return [found for folder in folders if (found := _look(folder))]


def _look(folder: Path) -> Finding | None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # another machine's, or one that we may not enter
        return None
    what = f"{free / 2**30:,.1f} GiB free for {folder}"
    advice = "make room, or move the data to a larger disk: a full disk stops Postgres, and lets NATS drop doorbells silently"
    return error(what, advice) if free < LEAST else warning(what, advice) if free < LITTLE else ok(what)
