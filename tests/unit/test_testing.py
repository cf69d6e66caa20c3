"""The context that unit tests of handlers use behaves as a worker's does."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from waggle import BreakerOpen, Context
from waggle.testing import context


def test_a_context_shows_what_it_was_made_of() -> None:
    task_id, deadline = uuid4(), datetime(2030, 1, 1, tzinfo=UTC)
    ctx = context("email.send", {"to": "anna"}, task_id=task_id, attempt=3, metadata={"tenant": "a"}, deadline=deadline)
    assert isinstance(ctx, Context)
    assert (ctx.task.type, ctx.attempt, ctx.metadata, ctx.deadline) == ("email.send", 3, {"tenant": "a"}, deadline)
    assert ctx.idempotency_key == str(task_id)
    assert not ctx.cancelled
    assert context(cancelled=True).cancelled
    ctx.log.info("a line")


def test_a_breaker_is_closed_unless_it_is_named_as_open() -> None:
    ctx = context(open_breakers=["smtp"])
    with ctx.breaker("crm"):
        pass
    with pytest.raises(BreakerOpen), ctx.breaker("smtp"):
        pytest.fail("the block of an open breaker runs")
    with pytest.raises(ValueError, match="must match"):
        ctx.breaker("No Name")


async def test_a_breaker_is_for_async_handlers_too() -> None:
    ctx = context(open_breakers=["smtp"])
    with pytest.raises(OSError, match="gone"):
        async with ctx.breaker("crm"):
            raise OSError("gone")
    with pytest.raises(BreakerOpen):
        async with ctx.breaker("smtp"):
            pytest.fail("the block of an open breaker runs")
