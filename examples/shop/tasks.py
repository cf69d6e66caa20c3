"""The background work of a small shop: three kinds of handler. ../README.md says how to run it."""

import asyncio
import csv
import io
import time
from collections import Counter
from typing import Any

import msgspec

from waggle import App, Context, Reject, Retry, Snooze

app = App()


class Line(msgspec.Struct):
    """One line of an order."""

    product: str
    price: float
    count: int = 1


@app.task("email.send", queue="mail", max_retries=5, timeout=30)
async def send_email(ctx: Context, to: str, subject: str, body: str = "") -> dict[str, str]:
    """Async: it waits for other machines, and one worker runs a hundred of these at once.

    A task may run twice, for example after a crash. The mail service gets a key that is the same for both, and sends the mail once.
    """
    ctx.log.info("sending", words=len(body.split()))  # ids and sizes, no addresses and no text: many people read logs
    await asyncio.sleep(0.05)  # your mail service's API
    return {"message_id": f"<{ctx.idempotency_key}@shop.example>", "to": to, "subject": subject}


@app.task("report.build", queue="reports", timeout=120)
def build_report(ctx: Context, lines: list[Line]) -> dict[str, Any]:
    """A plain function runs in a thread and may block. A thread cannot be stopped from outside, so it checks whether it was cancelled."""
    sold: Counter[str] = Counter()
    for line in lines:
        if ctx.cancelled:
            raise Reject("the report was cancelled")
        sold[line.product] += line.count
        time.sleep(0.01)  # a slow database
    sheet = io.StringIO()
    csv.writer(sheet).writerows([("product", "sold"), *sold.most_common()])
    return {"total": sum(line.price * line.count for line in lines), "csv": sheet.getvalue()}


@app.task("payment.collect", queue="payments", max_retries=3)
async def collect_payment(ctx: Context, order: str, amount: float) -> dict[str, Any]:
    """Chooses what follows: a payment that cannot succeed is rejected, one that is not ready waits, one that failed is retried soon.

    Any other exception is also a failed try; the task is retried with backoff.
    """
    if amount <= 0:
        raise Reject(f"an order of {amount} cannot be paid")  # a dead letter at once
    if await _is_being_packed(ctx):
        raise Snooze(0.2)  # run again later; uses up no try
    if not await _bank_answers(ctx):
        raise Retry(after=0.1, reason="the bank did not answer")  # uses up a try
    return {"order": order, "collected": amount, "receipt": ctx.idempotency_key}


async def _is_being_packed(ctx: Context) -> bool:
    """Stands for your warehouse: here, an order is being packed when its payment is first tried."""
    return ctx.attempt == 1


async def _bank_answers(ctx: Context) -> bool:
    """Stands for a bank: here, it fails once for every order."""
    return ctx.task.retry_count > 0
