"""What `waggle doctor` found, and the command run in this process."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.command_line import called


@dataclass
class Examined:
    """How `waggle doctor` ended, and what it found by the name of the check."""

    code: int
    status: str
    found: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def one(self, check: str, level: str) -> str:
        """What the only finding of a check says, and its advice; it has this level."""
        (item,) = self.found[check]
        assert item["level"] == level, item
        return f"{item['what']} → {item.get('advice', '')}"


Doctor = Callable[..., Awaitable[Examined]]


def doctor_of(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> Doctor:
    """Run `waggle doctor -o json` in this process, in an empty folder, with these variables. Every problem comes with advice, and never with a password."""
    monkeypatch.chdir(folder)

    async def run(**environ: str) -> Examined:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        code, out, err = await asyncio.to_thread(called, capsys, "doctor", "-o", "json")
        assert "hunter2" not in out + err
        report = json.loads(out)
        examined = Examined(code, report["status"])
        for item in report["items"]:
            assert (item["level"] == "ok") == ("advice" not in item), item
            examined.found.setdefault(item["check"], []).append(item)
        return examined

    return run
