"""What a handler may emit."""

import asyncio
import math
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from waggle.bus.connection import Bus
from waggle.task import Claimed
from waggle_worker.emitting import Emissions, Emitter


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": {"b": -math.inf}}])
async def test_a_number_that_json_does_not_have_is_refused(value: object) -> None:
    now = datetime.now(UTC)
    claimed = Claimed(uuid4(), 1, now, "some", "{}", 30.0, 0, 3, 0, "default", 1, "", "{}", now, now, None, None, None, None)
    emissions = Emissions(claimed, Emitter(Bus(["nats://127.0.0.1:1"], "nobody"), asyncio.get_running_loop()), None)
    with pytest.raises(ValueError, match="JSON has no"):
        emissions.emit(value)
    assert emissions.text() is None
