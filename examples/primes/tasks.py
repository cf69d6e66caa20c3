"""Counting prime numbers, in a process for each task. ../README.md says how to run it."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from waggle import App, Context, Reject, TaskError

app = App()

LARGEST = 50_000_000

Limit = Annotated[int, Meta(ge=3, description="count the primes below this number")]


def remove_scratch(ctx: Context, error: TaskError) -> None:
    """The cleanup hook: runs once when a task has ended without success. A process that is killed cannot tidy up by itself."""
    shutil.rmtree(_scratch(ctx), ignore_errors=True)
    ctx.log.info("scratch removed", code=error.code)


@app.task("primes.count", queue="cpu", timeout=60, max_retries=1, process=True, cleanup=remove_scratch)
def count_primes(ctx: Context, below: Limit) -> dict[str, Any]:
    """A plain function with process=True may use the CPU for as long as it needs. A timeout or a cancellation kills its process only."""
    if below > LARGEST:
        raise Reject(f"at most {LARGEST:,}: this is an example")
    scratch = _scratch(ctx)
    scratch.mkdir(exist_ok=True)
    (scratch / "sieve").write_bytes(_sieve(below))
    sieve = (scratch / "sieve").read_bytes()
    shutil.rmtree(scratch)
    return {"below": below, "count": sieve.count(1), "largest": sieve.rindex(1), "process": os.getpid()}


def _scratch(ctx: Context) -> Path:
    """Named after the task, so that the next attempt and the cleanup hook find the same folder."""
    return Path(tempfile.gettempdir()) / f"primes-{ctx.idempotency_key}"


def _sieve(below: int) -> bytearray:
    """The sieve of Eratosthenes: 1 at each prime number."""
    is_prime = bytearray([1]) * below
    is_prime[:2] = b"\0\0"
    for number in range(2, int(below**0.5) + 1):
        if is_prime[number]:
            is_prime[number * number :: number] = bytes(len(range(number * number, below, number)))
    return is_prime
