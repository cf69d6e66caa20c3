"""The clocks, held against the database's, which is the one that counts.

A wrong clock elsewhere changes the order of ids in a listing and the times in logs, and nothing else.
"""

import time
from datetime import datetime
from typing import Final, NamedTuple

from waggle.bus import subjects
from waggle.bus.jetstream import ask
from waggle.store import diagnosis
from waggle_cli.doctor.findings import Finding, ok, warning
from waggle_cli.doctor.patient import Patient

TOLERATED: Final = 2.0  # seconds


class Reading(NamedTuple):
    """How far a clock is ahead of this machine's, in seconds, and how far that may be wrong."""

    ahead: float
    give_or_take: float


def read(asked: float, answered: float, theirs: float) -> Reading:
    """A clock that said `theirs` at some moment between our `asked` and `answered` (seconds since 1970): it is taken for the middle."""
    return Reading(theirs - (asked + answered) / 2, (answered - asked) / 2)


def verdict(name: str, clock: Reading, database: Reading) -> Finding | None:
    """A finding when a clock is surely more than TOLERATED away from the database's."""
    ahead = clock.ahead - database.ahead
    if abs(ahead) - clock.give_or_take - database.give_or_take <= TOLERATED:
        return None
    direction = "ahead of" if ahead > 0 else "behind"
    advice = "set it by NTP; no task is late or lost for it, but ids made there sort wrongly and its logs mislead"
    return warning(f"{name} clock is {abs(ahead):,.1f} s {direction} the database's", advice)


async def agree(patient: Patient) -> list[Finding]:
    assert patient.database
    asked = time.time()
    theirs = await diagnosis.clock(patient.database)
    database = read(asked, time.time(), theirs.timestamp())
    clocks = {"this machine's": Reading(0.0, 0.0)}
    if patient.bus and (nats := await _nats(patient)):
        clocks["NATS's"] = nats
    findings = [finding for name, clock in clocks.items() if (finding := verdict(name, clock, database))]
    most = max(abs(clock.ahead - database.ahead) for clock in clocks.values())
    return findings or [ok(f"{', '.join(clocks)} and the database's agree ({most * 1000:,.0f} ms apart at most)")]


async def _nats(patient: Patient) -> Reading | None:
    """JetStream says its time with what it says of a stream; None without one."""
    assert patient.bus
    asked = time.time()
    answer = await ask(patient.bus, subjects.STREAM_INFO)
    answered = time.time()
    return read(asked, answered, datetime.fromisoformat(answer["ts"]).timestamp()) if "ts" in answer else None
