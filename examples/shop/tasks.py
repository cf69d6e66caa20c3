"""The background work of a small shop: three kinds of task, and how each one deals with trouble. ../README.md says how to run it."""

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
    """One position of an order."""

    product: str
    price: float
    count: int = 1


@app.task("email.send", queue="mail", max_retries=5, timeout=30)
async def send_email(ctx: Context, to: str, subject: str, body: str = "") -> dict[str, str]:
    """Async: it waits for other machines, and a worker runs a hundred of these at once.

    A task may run twice, after a crash for example. Whoever sends the mail is given a key that stays the same, and sends it once.
    """
    ctx.log.info("sending", words=len(body.split()))  # ids and sizes, not addresses and texts: logs are read by many
    await asyncio.sleep(0.05)  # your mail service's API
    return {"message_id": f"<{ctx.idempotency_key}@shop.example>", "to": to, "subject": subject}


@app.task("report.build", queue="reports", timeout=120)
def build_report(ctx: Context, lines: list[Line]) -> dict[str, Any]:
    """A plain function: it runs in a thread, and may block. Nobody can stop a thread from outside, so it looks whether it is still wanted."""
    sold: Counter[str] = Counter()
    for line in lines:
        if ctx.cancelled:
            raise Reject("nobody waits for this report any more")
        sold[line.product] += line.count
        time.sleep(0.01)  # a slow database
    sheet = io.StringIO()
    csv.writer(sheet).writerows([("product", "sold"), *sold.most_common()])
    return {"total": sum(line.price * line.count for line in lines), "csv": sheet.getvalue()}


@app.task("payment.collect", queue="payments", max_retries=3)
async def collect_payment(ctx: Context, order: str, amount: float) -> dict[str, Any]:
    """Says more than "it failed": what cannot succeed is not tried again, what is not ready waits, what broke is tried again soon.

    Any other exception is a failed try as well; the next one follows after a growing pause.
    """
    if amount <= 0:
        raise Reject(f"an order of {amount} cannot be paid")  # to the dead letters at once
    if await _is_being_packed(ctx):
        raise Snooze(0.2)  # waits, and costs no try
    if not await _bank_answers(ctx):
        raise Retry(after=0.1, reason="the bank did not answer")  # costs a try
    return {"order": order, "collected": amount, "receipt": ctx.idempotency_key}


async def _is_being_packed(ctx: Context) -> bool:
    """Stands for your warehouse; here every order is being packed when its payment is first tried."""
    return ctx.attempt == 1


async def _bank_answers(ctx: Context) -> bool:
    """Stands for a bank; here it fails once for every order."""
    return ctx.task.retry_count > 0
