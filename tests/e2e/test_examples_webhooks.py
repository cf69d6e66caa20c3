"""The webhooks of the examples: a receiver that is out of order is left alone, its tasks wait, and none of them loses a try by that."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.command_line import up
from support.facts import until
from support.processes import START_SECONDS, kill
from support.system import Client, Json, client_for, ok

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def receiver() -> Iterator[str]:
    """The address of a receiver of this test's own."""
    process = subprocess.Popen([sys.executable, EXAMPLES / "webhooks" / "receiver.py", "0"], stdout=subprocess.PIPE, text=True)
    late = threading.Timer(START_SECONDS, process.kill)
    late.start()
    assert process.stdout is not None
    with process.stdout as output:
        address = output.readline().strip()
        late.cancel()
        assert address, f"the receiver did not say its address within {START_SECONDS:g} s"
        yield address
        kill(process)


@pytest.fixture
def webhooks(receiver: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The example, as its README starts it, but with a breaker that probes after 4 s."""
    with up(
        "--app", "webhooks.tasks:app", "--ephemeral",
        place=EXAMPLES, output=folder / "webhooks.txt", RECEIVER=f"{receiver}/hook", WAGGLE_BREAKER_RESET="4", WAGGLE_BREAKER_RESET_MAX="4",
    ) as facts:  # fmt: skip
        yield facts


def test_the_readme_starts_it_as_the_tests_do() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    assert "    uv run waggle up --app webhooks.tasks:app\n" in readme
    assert "    uv run python webhooks/receiver.py\n" in readme


async def test_a_receiver_that_is_out_of_order_is_left_alone_and_its_tasks_wait(webhooks: dict[str, Any], receiver: str) -> None:
    async with client_for(webhooks) as client, httpx2.AsyncClient(base_url=receiver, trust_env=False) as there:
        delivered = await client.submit("webhook.deliver", {"event": "order.paid", "data": {"order": "A-1"}})
        assert (await client.wait(delivered))["result"] == {"status": 200}

        await there.put("/out-of-order")
        failing = [await client.submit("webhook.deliver", {"event": "order.paid"}, max_retries=0) for _ in range(5)]
        for task in failing:
            await client.wait(task)
        opened = await until(lambda: breaker(client, "open"), what="the breaker is open at GET /api/breakers")
        assert (opened["failures"], opened["trips"], opened["error"]) == (5, 1, "RuntimeError: the receiver answered 503")

        calls = ok(await there.delete("/out-of-order"))["calls"]
        waiting = [await client.submit("webhook.deliver", {"event": "order.packed"}, max_retries=0) for _ in range(10)]
        for task in waiting:
            found = await client.wait(task, 30)
            assert (found["status"], found["retry_count"]) == ("completed", 0)
        outcomes = [[attempt["outcome"] for attempt in await client.attempts(task)] for task in waiting]
        assert {outcome for told in outcomes for outcome in told} == {"snoozed", "completed"}
        assert ok(await there.get("/"))["calls"] == calls + 10
        assert (await until(lambda: breaker(client, "closed")))["trips"] == 1


async def breaker(client: Client, state: str) -> Json | None:
    """The breaker of the receiver, once it has this state."""
    return next((found for found in ok(await client.get("/api/breakers"))["items"] if (found["name"], found["state"]) == ("webhook-receiver", state)), None)
