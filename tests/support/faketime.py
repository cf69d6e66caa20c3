"""A Postgres whose clock a test can set, while it runs, by libfaketime."""

from pathlib import Path

import pytest

from support.servers import PostgresServer
from waggle_embedded import postgres

LIBRARIES = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1")


class WrongClock(PostgresServer):
    """`set(600.0)`: from now on its clock is ten minutes ahead."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        library = next((path for path in LIBRARIES if Path(path).exists()), None)
        assert library, "libfaketime is missing: apt-get install libfaketime"
        self._file = folder.with_name("faketime")
        self.set(0.0)
        faked = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        monkeypatch.setattr(postgres, "ENVIRONMENT", {**postgres.ENVIRONMENT, **faked})
        super().__init__(folder)

    def set(self, seconds: float) -> None:
        fresh = self._file.with_name("faketime.new")
        fresh.write_text(f"{seconds:+g}s\n")
        fresh.chmod(0o644)
        fresh.replace(self._file)
