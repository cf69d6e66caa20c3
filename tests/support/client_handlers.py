"""Handlers for the tests of the client (`WAGGLE_APP=support.client_handlers:app`)."""

import asyncio
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from waggle import App, Context, Reject

app = App()


@dataclass
class Invoice:
    number: int
    due: date
    total: Decimal


@app.task("shop.invoice")
async def invoice(ctx: Context, number: int, due: date, total: Decimal = Decimal("0.10")) -> Invoice:
    ctx.log.info("invoice written", number=number)
    return Invoice(number, due, total)


@app.task("shop.refuse", max_retries=0)
def refuse(why: str) -> None:
    raise Reject(why)


@app.task("shop.wait")
async def wait(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "waited"


@app.task("shop.add")
def add(a: int, b: int = 1) -> int:
    return a + b


@app.task("shop.open")
async def take_all(**rest: int) -> int:
    return sum(rest.values())


@app.task("shop.count")
async def count(ctx: Context, to: int) -> None:
    for number in range(to):
        await ctx.emit({"number": number})
        await asyncio.sleep(0.05)
