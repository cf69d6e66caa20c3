"""The wait after a failed try is the one that its type declares; a function that gives none does no harm."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.declared_handlers import BACKOFFS
from support.one_system import OneSystem, one_system
from support.servers import PostgresServer
from support.system import Client, Json, ok


@pytest.fixture(scope="module")
def system(session_folder: Path, postgres: PostgresServer) -> Iterator[OneSystem]:
    with one_system(postgres, session_folder, "worker-backoff", app="support.declared_handlers:app") as found:
        yield found


async def waits(system: OneSystem, client: Client, type_: str, payload: object = None) -> list[float]:
    """The waits of a task of this type that fails until it is a dead letter, in seconds."""
    task = await client.wait(await client.submit(type_, payload), 30.0)
    assert task["status"] == "dead_letter"
    return [line["retry_in"] for line in system.worker.logged("try failed, will be retried", task_id=task["id"])]


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("backoff.fixed", [0.3, 0.3]),
        ("backoff.linear", [0.2, 0.3]),
        ("backoff.exponential", [0.1, 0.3]),
        ("backoff.function", [0.5, 1.0]),
        ("backoff.process", [0.5]),
        ("backoff.asks", [0.4]),
    ],
)
async def test_a_failed_task_waits_as_its_type_declares(type_: str, expected: list[float], system: OneSystem, client: Client) -> None:
    assert await waits(system, client, type_) == expected


async def test_jitter_leaves_its_share_to_chance(system: OneSystem, client: Client) -> None:
    first, second = await waits(system, client, "backoff.jitter")
    assert 0.2 <= first <= 0.4
    assert 0.2 <= second <= 0.4
    assert first != second


async def test_a_wait_that_the_handler_names_comes_first(system: OneSystem, client: Client) -> None:
    assert await waits(system, client, "backoff.asks", {"after": 0.1}) == [0.1]


@pytest.mark.parametrize("name", ["raises", "exits", "nan", "negative", "too-large", "text"])
async def test_a_function_that_gives_no_wait_is_told_and_the_default_used(name: str, system: OneSystem, client: Client) -> None:
    task = await client.wait(await client.submit(f"backoff.{name}", max_retries=1), 30.0)
    [line] = system.worker.logged("backoff failed, the default is used", task_id=task["id"])
    assert (line["level"], line["task_type"], line["tries"]) == ("warning", f"backoff.{name}", 1)
    [failed] = system.worker.logged("try failed, will be retried", task_id=task["id"])
    assert 0 <= failed["retry_in"] <= 1
    assert system.worker.alive


async def test_the_catalogue_shows_every_backoff(client: Client) -> None:
    found: dict[str, Json] = {one["name"]: one["backoff"] for one in ok(await client.get("/api/types"))["items"]}
    assert found["backoff.fixed"] == {"kind": "fixed", "base": 0.3, "factor": 1.0, "cap": 0.3, "jitter": 0.0}
    assert found["backoff.exponential"] == {"kind": "exponential", "base": 0.1, "factor": 3.0, "cap": 0.5, "jitter": 0.0}
    assert found["backoff.function"] == {"kind": "function", "function": "support.declared_handlers.twice_as_long"}
    assert found["demo.echo"] == {"kind": "exponential", "base": 1.0, "factor": 2.0, "cap": 300.0, "jitter": 1.0}
    assert found.keys() >= {f"backoff.{name}" for name in BACKOFFS}
