"""A bulk retry that changes payloads: shown beforehand, made where the changed payload fits, and reported where it does not."""

import json

import asyncpg
import pytest

from support.access import made
from support.dlq_asked import ids, listed
from support.given_dead import dead
from support.processes import Process
from support.system import Client, Json, client_of, ok
from waggle.store import catalogue

Pool = asyncpg.Pool

SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "card": {"type": "string", "writeOnly": True}},
    "required": ["amount"],
    "additionalProperties": False,
}
RENAME: Json = {"copy": {"amount": "sum"}, "drop": ["sum"]}


@pytest.fixture
async def kind(api: Client, pool: Pool, kind: str) -> str:
    """As elsewhere, and announced with SCHEMA: its field `amount` was called `sum` before."""
    await catalogue.announce(pool, [catalogue.TaskType(kind, "default", 3, 300.0, True, json.dumps(SCHEMA))], ["default"])
    ok(await api.post("/api/tasks", json={"type": kind}), 422)  # an unknown type is looked up at once
    return kind


async def payloads(pool: Pool, kind: str, status: str) -> list[str]:
    rows = await pool.fetch("SELECT payload::text FROM waggle.tasks WHERE type = $1 AND status = $2 ORDER BY id", kind, status)
    return [row[0] for row in rows]


async def test_a_renamed_field_is_repaired_in_all_of_them(api: Client, pool: Pool, kind: str) -> None:
    made = await dead(pool, 9, type=kind, payload='{"sum": 12345678901234567890.10}')
    redrive = ok(await api.post("/api/dlq/retry", json={"type": kind, "changes": RENAME}))
    assert (redrive["state"], redrive["retried"], redrive["changes"]) == ("completed", 9, RENAME)
    assert "unfit" not in redrive
    assert await payloads(pool, kind, "pending") == ['{"amount":12345678901234567890.10}'] * 9
    kept = await pool.fetch("SELECT DISTINCT payload::text, how FROM waggle.dead_letter_retries WHERE task_id = ANY ($1)", made)
    assert [tuple(row) for row in kept] == [('{"sum": 12345678901234567890.10}', "redrive")]
    assert ok(await api.get(f"/api/dlq/retries/{redrive['id']}"))["changes"] == RENAME


async def test_what_does_not_fit_stays_and_is_reported(api: Client, dlq: Process, pool: Pool, kind: str) -> None:
    wrong = sorted(await dead(pool, 12, type=kind, payload='{"sum": "ten"}'))
    await dead(pool, 2, type=kind, payload='{"sum": 10}')
    (other,) = await dead(pool, type=kind, payload='{"amount": 10}')
    redrive = ok(await api.post("/api/dlq/retry", json={"type": kind, "changes": RENAME}))
    assert (redrive["state"], redrive["matched"], redrive["retried"], redrive["skipped"], redrive["unfit"]) == ("completed", 15, 2, 0, 13)
    assert [found["id"] for found in redrive["first_unfit"]] == [str(task_id) for task_id in wrong[:10]]
    assert redrive["first_unfit"][0]["errors"] == [{"field": "payload.amount", "message": 'the value is not of type "number"'}]
    assert {*ids(await listed(api, type=kind))} == {str(task_id) for task_id in [*wrong, other]}
    assert await payloads(pool, kind, "dead_letter") == ['{"sum": "ten"}'] * 12 + ['{"amount": 10}']
    assert dlq.logged("redrive began", redrive_id=redrive["id"], changing=True)


async def test_a_dry_run_shows_the_first_ten_before_and_after(api: Client, pool: Pool, kind: str) -> None:
    made = sorted(await dead(pool, 11, type=kind, payload='{"sum": 10.0, "card": "4711-4711"}'))
    await pool.execute("UPDATE waggle.tasks SET payload = '{}' WHERE id = $1", made[1])
    answer = ok(await api.post("/api/dlq/retry", json={"type": kind, "changes": RENAME, "dry_run": True}))
    first = answer.pop("first")
    assert answer == {"matched": 11, "dry_run": True}
    assert ids(first) == [str(task_id) for task_id in made[:10]]
    assert first[0] == {"id": str(made[0]), "type": kind, "before": {"sum": 10.0, "card": "***"}, "after": {"card": "***", "amount": 10.0}}
    assert first[1]["errors"] == [{"field": "payload.sum", "message": "is not in this payload: there is nothing to copy to amount"}]
    assert len(await payloads(pool, kind, "dead_letter")) == 11


async def test_a_secret_that_is_set_is_seen_nowhere(api: Client, dlq: Process, pool: Pool, kind: str) -> None:
    await dead(pool, 2, type=kind, payload='{"amount": 1}')
    body = {"type": kind, "changes": {"set": {"card": "canary-4711", "amount": 2}}}
    answers = [await api.post("/api/dlq/retry", json={**body, "dry_run": True}), await api.post("/api/dlq/retry", json=body)]
    redrive = ok(answers[1])
    assert redrive["changes"] == {"set": {"card": "***", "amount": 2}}
    answers += [await api.get("/api/dlq/retries"), await api.delete(f"/api/dlq/retries/{redrive['id']}"), await api.get("/api/audit-log")]
    assert "canary-4711" not in "".join(answer.text for answer in answers)
    assert "canary-4711" not in dlq.log.read_text()
    assert await payloads(pool, kind, "pending") == ['{"amount":2,"card":"canary-4711"}'] * 2


async def test_who_may_not_see_payloads_is_not_told_which_fields_they_have(api: Client, process: Process, pool: Pool, kind: str) -> None:
    await dead(pool, 2, type=kind, payload='{"sum": "ten"}')
    async with client_of(process, await made(api, scopes=["tasks:read", "dlq:write"])) as client:
        body = {"type": kind, "changes": {"copy": {"amount": "guessed"}}}
        first = ok(await client.post("/api/dlq/retry", json={**body, "dry_run": True}))["first"]
        assert [one["errors"] for one in first] == [[{"field": "payload", "message": "does not fit after the changes"}]] * 2
        assert first[0]["hidden"] == ["before", "after", "errors"]
        redrive = ok(await client.post("/api/dlq/retry", json=body))
        assert (redrive["unfit"], "first_unfit" in redrive, redrive["hidden"]) == (2, False, ["changes", "first_unfit"])


async def test_changes_that_are_wrong_are_refused_with_every_error(api: Client) -> None:
    changes = {"set": {"a": 1}, "copy": {"a": "b"}, "drop": ["a"]}
    errors = ok(await api.post("/api/dlq/retry", json={"all": True, "changes": changes}), 422)["errors"]
    assert sorted(error["field"] for error in errors) == ["changes.copy.a", "changes.drop"]
    for wrong in ({}, {"sett": {}}, {"set": []}, {"drop": [""]}, [], {"copy": {"a": 1}}):
        assert [error["field"] for error in ok(await api.post("/api/dlq/retry", json={"all": True, "changes": wrong}), 422)["errors"]] == ["changes"]
