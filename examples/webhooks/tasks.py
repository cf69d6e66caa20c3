"""Sends events to another service. While that service fails, it is not called, and nothing is lost. ../README.md says how to run it."""

import os
from typing import Any

import aiohttp

from waggle import App, Context, Reject

app = App()

RECEIVER = os.environ.get("RECEIVER", "http://127.0.0.1:8499/hook")


@app.task("webhook.deliver", queue="webhooks", max_retries=5, timeout=10)
async def deliver(ctx: Context, event: str, data: dict[str, Any] | None = None) -> dict[str, int]:
    """The breaker counts the failures of its block. After five in a row it opens, for all workers at once.

    Then the block is not entered any more. Tasks wait, which uses up no try, and a single task probes whether the service works again.
    """
    async with ctx.breaker("webhook-receiver"):
        status = await _post(ctx, {"event": event, "data": data or {}})
        if status >= 500:
            raise RuntimeError(f"the receiver answered {status}")  # the service's failure
    if status >= 400:
        raise Reject(f"the receiver answered {status}")  # our fault: raised outside the block, it does not count as a failure of the service
    return {"status": status}


async def _post(ctx: Context, body: dict[str, Any]) -> int:
    """A task may run twice: the key lets the receiver recognise an event that it already has."""
    headers = {"Idempotency-Key": ctx.idempotency_key}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
        session.post(RECEIVER, json=body, headers=headers) as response,
    ):
        return response.status
