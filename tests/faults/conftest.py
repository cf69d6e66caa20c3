"""Every fault test ends with `waggle audit`, while its services still run: whatever was broken, nothing is left over."""

from collections.abc import AsyncIterator

import pytest

from support.oracle import audited
from support.system import Services


@pytest.fixture
async def start(start: Services) -> AsyncIterator[Services]:
    """Starts services, as everywhere; what they leave is audited at the end. Where no scheduler lives, nothing need come to rest."""
    yield start
    if any(process.name == "scheduler" and process.alive for process in start.processes):
        await audited(start.settings)
