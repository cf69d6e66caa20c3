"""The servers of the `waggle up` that runs in a folder or above it, as its `up.json` names them."""

import json
import os
from pathlib import Path
from typing import Any, Final

SERVERS: Final = ("postgres_url", "nats_url")


def servers(folder: Path) -> dict[str, str]:
    """Its addresses by the names of the settings; {} if none runs."""
    _, facts = announced(folder)
    return {name: str(facts[name]) for name in SERVERS if name in facts}


def announced(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """Its data folder and the content of its `up.json`; (None, {}) if none runs. Only our own file is trusted."""
    for parent in (folder, *folder.parents):
        file = parent / ".waggle" / "up.json"
        try:
            if file.stat().st_uid == os.geteuid():
                return file.parent, dict(json.loads(file.read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
    return None, {}
