"""`waggle doctor` in the test's process, and the servers that it examines."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from support.examined import Doctor, doctor_of
from support.servers import NatsServer


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Doctor]:
    yield doctor_of(capsys, monkeypatch, tmp_path)
    structlog.reset_defaults()  # the command sets how its process logs


@pytest.fixture
def servers(database: str, nats: NatsServer) -> dict[str, str]:
    """The variables for the test's own servers."""
    return {"WAGGLE_POSTGRES_URL": database, "WAGGLE_NATS_URL": nats.url}
