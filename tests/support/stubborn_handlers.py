"""Handlers with threads that do not end, and with threads that do not begin (`WAGGLE_APP=support.stubborn_handlers:app`)."""

import asyncio
import os
import threading
import time

from support.handlers import effect
from waggle import App, Context
from waggle.errors import TaskError

app = App()

if "THREAD_BYTES" in os.environ:
    threading.stack_size(int(os.environ["THREAD_BYTES"]))  # so much memory each thread needs at its start


@app.task("stubborn.sleeps", timeout=0.5, max_retries=0)
def sleeps(seconds: float) -> None:
    time.sleep(seconds)


@app.task("stubborn.leaves_a_thread")
def leaves_a_thread() -> str:
    threading.Thread(target=time.sleep, args=(600,)).start()
    return "fine"


@app.task("stubborn.awaits_a_thread")
async def awaits_a_thread() -> None:
    await asyncio.to_thread(time.sleep, 600)


@app.task("stubborn.thread")
def in_a_thread() -> str:
    return "fine"


def cleaned(ctx: Context, error: TaskError) -> None:
    effect(ctx, "cleaned")


@app.task("stubborn.owes_a_hook", max_retries=0, cleanup=cleaned)
async def owes_a_hook() -> None:
    raise RuntimeError("so that the hook is due")


@app.task("stubborn.loop")
async def on_the_loop() -> str:
    return "fine"
