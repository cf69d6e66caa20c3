"""The circuit breakers of a worker together: how many are remembered, and what may happen while one of them is written."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from support.fleet import FleetSettings
from waggle.bus.access import NatsAccess
from waggle.bus.breakers import Entry, Record, State
from waggle.bus.connection import Bus
from waggle_worker.protect import registry, writing
from waggle_worker.protect.breakers import Breakers

NOBODY = Bus(NatsAccess(["nats://127.0.0.1:1"]), "nobody")


@pytest.fixture
def breakers(monkeypatch: pytest.MonkeyPatch) -> Breakers:
    """Two failures open one; a hundred are remembered."""
    monkeypatch.setattr(registry, "BREAKER_LIMIT", 100)
    return Breakers(NOBODY, FleetSettings(postgres_url="x", nats_url="x", breaker_threshold=2, breaker_reset=60.0))


def test_hosts_that_failed_once_and_never_came_again_are_forgotten(breakers: Breakers) -> None:
    for number in range(1_000):
        breakers.failed(breakers.of(f"http:{number}.example"), None, "no answer")
    assert len(breakers.registry) <= 100


def test_what_must_not_be_called_is_kept_and_what_may_be_probed_is_forgotten_last(breakers: Breakers) -> None:
    kept, due = breakers.of("http:open.example"), breakers.of("http:due.example")
    for breaker in (kept, due):
        breaker.becomes(State.OPEN, time.monotonic() + (60.0 if breaker is kept else 0.0))
    for number in range(140):
        breakers.of(f"http:{number}.example")
    assert (breakers.of("http:open.example"), breakers.of("http:due.example")) == (kept, due)


async def test_one_that_was_forgotten_while_somebody_was_inside_is_not_shared(breakers: Breakers) -> None:
    forgotten = breakers.of("http:0.example")
    for number in range(1, 102):
        breakers.of(f"http:{number}.example")
    for _ in range(2):
        breakers.failed(forgotten, None, "no answer")
    assert forgotten.state is State.OPEN
    assert not breakers.ledger.unwritten


async def test_another_one_may_come_up_while_a_probe_is_renewed(breakers: Breakers, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    async def put(_: Bus, record: Record, revision: int) -> int:
        written.append(record.name)
        breakers.of(f"another-{len(written)}")
        return revision + 1

    monkeypatch.setattr(writing.bucket, "put", put)
    for name in ("one", "two"):
        breakers.of(name).probe("mine", time.monotonic() - 10.0)
    await breakers.sharing.writer.renew()
    assert written == ["one", "two"]


def test_a_wait_of_others_that_is_longer_than_the_most_is_kept_too() -> None:
    patient = Breakers(NOBODY, FleetSettings(postgres_url="x", nats_url="x", breaker_reset=60.0, breaker_reset_max=10.0))
    now = datetime.now(UTC)
    record = Record("smtp", State.OPEN, failures=5, trips=1, opened_at=now, retry_at=now + timedelta(seconds=60.0))
    patient.sharing.reader.apply(Entry(record, 1, now))
    assert patient.of("smtp").until - time.monotonic() > 50.0
