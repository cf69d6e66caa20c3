"""Every fault test ends with `waggle audit`, while its services still run: whatever broke, nothing may be left over."""

from collections.abc import AsyncIterator

import pytest

from support.oracle import audited
from support.system import Services


@pytest.fixture
async def start(start: Services) -> AsyncIterator[Services]:
    """Starts services, and audits their tasks at the end; without a live scheduler, tasks need not come to rest."""
    yield start
    if any(process.name == "scheduler" and process.alive for process in start.processes):
        await audited(start.settings)
