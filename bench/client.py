"""What the Python client costs: its calls beside bare requests, in one run.

    uv run python bench/client.py [--tasks 20000] [--posts 5000] [--callers 32] [--rounds 3]
    uv run python bench/client.py --libraries [--posts 2000] [--rounds 3]

Prints one JSON line with medians of the rounds: tasks a second by POST /api/tasks, bare, with an idempotency key, and by `Client.submit`; the same by POST
/api/tasks/batch and `Client.submit_many`; and the client's ratios to both. With --libraries: the program's processor time for one POST /api/tasks, in
milliseconds, by the client and by the HTTP libraries that could stand below it, each with one connection.
"""

import argparse
import asyncio
import http.client
import statistics
import time
from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx2
import msgspec
import urllib3
import uvloop

from load import post, run
from stage import report, stage
from submit import TASK, Repeat
from waggle import Client, SyncClient, new_task

EACH = 1_000


class Keyed:
    """The same request a number of times, each with an idempotency key of its own, as the client sends them."""

    def __init__(self, request: bytes, count: int) -> None:
        self._before, _, self._after = request.partition(b"\r\n")
        self._left = count

    def __call__(self) -> bytes | None:
        if self._left == 0:
            return None
        self._left -= 1
        return self._before + b"\r\nidempotency-key: " + token_hex(16).encode() + b"\r\n" + self._after


async def one_by_one(client: Client, count: int, callers: int) -> float:
    """Seconds for `count` submissions by as many callers at once."""

    async def call() -> None:
        for _ in range(count // callers):
            await client.submit(new_task(TASK["type"], TASK["payload"]))

    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(callers)))
    return time.perf_counter() - began


async def many(client: Client, count: int) -> float:
    began = time.perf_counter()
    await client.submit_many(new_task(TASK["type"], TASK["payload"]) for _ in range(count))
    return time.perf_counter() - began


def threads_ms(url: str, posts: int) -> dict[str, float]:
    """Processor time of a POST by what threads use, in milliseconds."""
    body, headers, parts = msgspec.json.encode(TASK), {"content-type": "application/json"}, urlsplit(url)
    found = {}
    with SyncClient(url, "") as client:
        found["waggle.SyncClient"] = _each(posts, lambda: client.submit(new_task(TASK["type"], TASK["payload"])))
    plain = http.client.HTTPConnection(parts.hostname or "", parts.port)

    def by_http_client() -> None:
        plain.request("POST", "/api/tasks", body, headers)
        plain.getresponse().read()

    found["http.client"] = _each(posts, by_http_client)
    plain.close()
    with urllib3.PoolManager() as pool:
        found["urllib3"] = _each(posts, lambda: pool.request("POST", f"{url}/api/tasks", body=body, headers=headers).data)
    with httpx2.Client() as session:
        found["httpx2.Client"] = _each(posts, lambda: session.post(f"{url}/api/tasks", content=body, headers=headers).content)
    return found


async def coroutines_ms(url: str, posts: int) -> dict[str, float]:
    """Processor time of a POST by what coroutines use, in milliseconds."""
    body, headers = msgspec.json.encode(TASK), {"content-type": "application/json"}
    found = {}

    async def measured(name: str, call: Callable[[], Awaitable[object]]) -> None:
        for _ in range(100):
            await call()
        began = time.process_time()
        for _ in range(posts):
            await call()
        found[name] = (time.process_time() - began) / posts * 1_000

    async with Client(url, "") as client:
        await measured("waggle.Client", lambda: client.submit(new_task(TASK["type"], TASK["payload"])))
    async with aiohttp.ClientSession() as session:

        async def by_aiohttp() -> bytes:
            async with session.post(f"{url}/api/tasks", data=body, headers=headers) as response:
                return await response.read()

        await measured("aiohttp", by_aiohttp)
    async with httpx2.AsyncClient() as other:
        await measured("httpx2.AsyncClient", lambda: other.post(f"{url}/api/tasks", content=body, headers=headers))
    return found


def _each(posts: int, call: Callable[[], object]) -> float:
    for _ in range(100):
        call()
    began = time.process_time()
    for _ in range(posts):
        call()
    return (time.process_time() - began) / posts * 1_000


def libraries(url: str, posts: int, rounds: int) -> None:
    found = [threads_ms(url, posts) | uvloop.run(coroutines_ms(url, posts)) for _ in range(rounds)]
    report(**{f"{name}_ms": round(statistics.median(each[name] for each in found), 3) for name in found[0]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--posts", type=int, default=5_000)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--libraries", action="store_true")
    args = parser.parse_args()
    rates: dict[str, list[float]] = {"post": [], "keyed_post": [], "client_post": [], "batch": [], "keyed_batch": [], "client_batch": []}
    with stage(unknown_types="accept") as on:
        on.start("scheduler")
        url = on.start("api")["api_url"]
        if args.libraries:
            libraries(url, args.posts, args.rounds)
            return
        single, batch = post(url, "/api/tasks", msgspec.json.encode(TASK)), post(url, "/api/tasks/batch", msgspec.json.encode({"tasks": [TASK] * EACH}))

        def measured(name: str, count: int, seconds: Any) -> None:
            rates[name].append(count / seconds)

        uvloop.run(run(url, args.callers, Repeat(single, 500)))  # warm-up
        for _ in range(args.rounds):
            measured("post", args.posts, uvloop.run(run(url, args.callers, Repeat(single, args.posts)))[0])
            measured("keyed_post", args.posts, uvloop.run(run(url, args.callers, Keyed(single, args.posts)))[0])
            measured("client_post", args.posts, uvloop.run(one_by_one(Client(url, "", connections=args.callers), args.posts, args.callers)))
            measured("batch", args.tasks, uvloop.run(run(url, 1, Repeat(batch, args.tasks // EACH)))[0])
            measured("keyed_batch", args.tasks, uvloop.run(run(url, 1, Keyed(batch, args.tasks // EACH)))[0])
            measured("client_batch", args.tasks, uvloop.run(many(Client(url, ""), args.tasks)))
        found = {name: statistics.median(values) for name, values in rates.items()}
        ratios = {f"client_to_{bare}": found[f"client_{bare.rpartition('_')[2]}"] / found[bare] for bare in ("post", "keyed_post", "batch", "keyed_batch")}
        report(
            **{f"{name}_per_s": round(value) for name, value in found.items()},
            **{name: round(value, 2) for name, value in ratios.items()},
            callers=args.callers,
        )


if __name__ == "__main__":
    main()
