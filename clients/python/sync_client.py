"""`just sync-client`: makes `waggle.client.sync` from `waggle.client.aio`, word by word. The coroutines are the only source."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import unasync

CLIENT: Final = Path(__file__).parents[2] / "libs" / "common" / "src" / "waggle" / "client"
WORDS: Final = {
    "Client": "SyncClient",
    "TaskHandle": "SyncTaskHandle",
    "aio": "sync",
    "TaskTransaction": "SyncTaskTransaction",
    "async_ids": "sync_ids",
    "async_is_over": "sync_is_over",
    "async_place": "sync_place",
    "async_sleep": "sync_sleep",
}
DOCSTRING: Final = '"""Made from `waggle.client.aio` by `just sync-client`; change it there."""\n'


def made(folder: Path) -> None:
    """Write the synchronous client into a folder."""
    rule = unasync.Rule(fromdir=f"{CLIENT}/aio/", todir=f"{folder}/", additional_replacements=WORDS)
    sources = sorted((CLIENT / "aio").glob("*.py"))
    unasync.unasync_files([str(source) for source in sources], [rule])
    for source in sources:
        file = folder / source.name
        _, _, rest = file.read_text().partition('"""\n')
        file.write_text(DOCSTRING + rest)
    subprocess.run([sys.executable, "-m", "ruff", "check", "--quiet", "--fix", "--select", "I,F401", str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", str(folder)], check=True)


if __name__ == "__main__":
    made(CLIENT / "sync")
