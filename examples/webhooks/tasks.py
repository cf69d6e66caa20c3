"""Tells another service what happened. While that service is out of order, nobody calls it, and nothing is lost. ../README.md says how to run it."""

import os
from typing import Any

import aiohttp

from waggle import App, Context, Reject

app = App()

RECEIVER = os.environ.get("RECEIVER", "http://127.0.0.1:8499/hook")


@app.task("webhook.deliver", queue="webhooks", max_retries=5, timeout=10)
async def deliver(ctx: Context, event: str, data: dict[str, Any] | None = None) -> dict[str, int]:
    """The breaker counts what goes wrong inside of its block. After five failures in a row it opens: for all workers, at once.

    Then the block is not entered any more. The task waits, which costs it no try, and one task alone probes whether the service is back.
    """
    async with ctx.breaker("webhook-receiver"):
        status = await _post(ctx, {"event": event, "data": data or {}})
        if status >= 500:
            raise RuntimeError(f"the receiver answered {status}")  # the service's failure
    if status >= 400:
        raise Reject(f"the receiver answered {status}")  # ours: outside of the block, it says nothing about the service
    return {"status": status}


async def _post(ctx: Context, body: dict[str, Any]) -> int:
    """The key lets the receiver see that it has had this event already: a task may run twice."""
    headers = {"Idempotency-Key": ctx.idempotency_key}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
        session.post(RECEIVER, json=body, headers=headers) as response,
    ):
        return response.status
