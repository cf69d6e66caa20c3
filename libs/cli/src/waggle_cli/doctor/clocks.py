"""The clocks of this machine and of NATS, compared with the database's, which decides all times.

A wrong clock elsewhere only changes the order of ids in lists, and the times in logs.
"""

import time
from datetime import datetime
from typing import Final, NamedTuple

from waggle.bus import subjects
from waggle.bus.jetstream import api_request
from waggle.store import clock, diagnosis
from waggle_cli.doctor.deployment import Deployment
from waggle_cli.doctor.findings import Finding, ok, warning

TOLERATED: Final = 2.0  # seconds


class ClockReading(NamedTuple):
    """How far a clock is ahead of this machine's, and the uncertainty, in seconds."""

    ahead: float
    uncertainty: float


def read(asked: float, answered: float, theirs: float) -> ClockReading:
    """From a clock that read `theirs` between our `asked` and `answered` (seconds since 1970); the middle is assumed."""
    return ClockReading(theirs - (asked + answered) / 2, (answered - asked) / 2)


def verdict(name: str, clock: ClockReading, database: ClockReading) -> Finding | None:
    """A finding if a clock certainly differs from the database's by more than TOLERATED."""
    ahead = clock.ahead - database.ahead
    if abs(ahead) - clock.uncertainty - database.uncertainty <= TOLERATED:
        return None
    direction = "ahead of" if ahead > 0 else "behind"
    advice = "synchronise it with NTP; no task is late or lost, but ids created there sort wrongly and its logs mislead"
    return warning(f"{name} clock is {abs(ahead):,.1f} s {direction} the database's", advice)


async def agree(deployment: Deployment) -> list[Finding]:
    assert deployment.database
    asked = time.time()
    theirs = await diagnosis.clock(deployment.database)
    database = read(asked, time.time(), theirs.timestamp())
    clocks = {"this machine's": ClockReading(0.0, 0.0)}
    if deployment.bus and (nats := await _nats(deployment)):
        clocks["NATS's"] = nats
    findings = [finding for name, clock in clocks.items() if (finding := verdict(name, clock, database))]
    most = max(abs(clock.ahead - database.ahead) for clock in clocks.values())
    return findings or [ok(f"{', '.join(clocks)} and the database's clocks agree within {most * 1000:,.0f} ms")]


async def jumps(deployment: Deployment) -> list[Finding]:
    """Jumps of the database's clock, as its schedulers saw them in the last day."""
    assert deployment.database
    advice = "let NTP slew the clock of Postgres instead of stepping it: deadlines and times of schedules are wrong by as much"
    found = [
        warning(f"the database's clock jumped by {row['seconds']:+,.0f} s at {row['at']:%Y-%m-%d %H:%M:%S}", advice)
        for row in await clock.recent(deployment.database)
    ]
    return found or [ok("no scheduler saw the database's clock jump in the last day")]


async def _nats(deployment: Deployment) -> ClockReading | None:
    """JetStream reports its time with the information about a stream; None without the stream."""
    assert deployment.bus
    asked = time.time()
    answer = await api_request(deployment.bus, subjects.STREAM_INFO)
    answered = time.time()
    return read(asked, answered, datetime.fromisoformat(answer["ts"]).timestamp()) if "ts" in answer else None
