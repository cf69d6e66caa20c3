"""How long it takes from a submission to the first line of the handler, at a steady rate.

    uv run python bench/latency.py --rate 200 [--seconds 20] [--traces 0.01] [--door nats]

`--door` says how tasks are submitted: by POST (http), by a message published to NATS (nats), or by `waggle.enqueue` in a transaction (sql).
`--traces` sends everything to a collector that throws it away, with this share of the traces sampled. Prints one JSON line: start_ms with p50, p95 and p99.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from urllib.parse import urlsplit

import asyncpg
import msgspec
import nats
import uvloop

from collector import collector
from load import content_length, post
from stage import Stage, all_settled, memory_mb, percentiles, report, stage
from waggle.store import postgres

WARM_UP = 2.0
CONNECTIONS = 10


def small(url: str) -> bytes:
    return post(url, "/api/tasks", msgspec.json.encode({"type": "bench.start", "payload": {"sent": time.time()}}))


async def submit(url: str, rate: int, seconds: float, request: Callable[[str], bytes] = small) -> list[float]:
    """Keep-alive connections take turns, so that a POST is sent every 1/rate seconds. Returns when each was answered, in order."""
    began = time.perf_counter() + 0.1
    answered = await asyncio.gather(*(sender(url, began + number / rate, CONNECTIONS / rate, seconds, request) for number in range(CONNECTIONS)))
    return sorted(chain.from_iterable(answered))


async def sender(url: str, began: float, period: float, seconds: float, request: Callable[[str], bytes]) -> list[float]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    answered = []
    for number in range(int(seconds / period)):
        await asyncio.sleep(max(0.0, began + number * period - time.perf_counter()))
        writer.write(request(url))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201"), head
        await reader.readexactly(content_length(head))
        answered.append(time.perf_counter())
    writer.close()
    return answered


async def publish(on: Stage, rate: int, seconds: float) -> None:
    """Publish a message every 1/rate seconds."""
    client = await nats.connect(on.settings.nats_url)
    began = time.perf_counter() + 0.1
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        await client.publish("waggle.submit.bench.bench.start", msgspec.json.encode({"payload": {"sent": time.time()}}))
        await client.flush()
    await client.close()


async def enqueue(on: Stage, rate: int, seconds: float) -> None:
    """A transaction every 1/rate seconds, by connections that take turns. `sent` is when it begins."""
    async with asyncpg.create_pool(on.settings.postgres_url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        began, going = time.perf_counter() + 0.1, set[asyncio.Task[None]]()

        async def one() -> None:
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT waggle.enqueue('bench.start', $1)", msgspec.json.encode({"sent": time.time()}).decode())

        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            going.add(asyncio.create_task(one()))
        await asyncio.wait(going)


async def starts(on: Stage, skip: int) -> list[float]:
    async with postgres.pool(on.settings, "bench", 1) as pool:
        await all_settled(pool)
        rows = await pool.fetch("SELECT result FROM waggle.tasks WHERE status = 'completed' AND type = 'bench.start' ORDER BY id OFFSET $1", skip)
    return [float(json.loads(row["result"])) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--door", choices=["http", "nats", "sql"], default="http")
    parser.add_argument("--traces", type=float, default=None, metavar="SHARE")
    args = parser.parse_args()
    with collector() as address:
        run(args, {} if args.traces is None else {"otlp_endpoint": address, "trace_ratio": args.traces})


def run(args: argparse.Namespace, settings: dict[str, object]) -> None:
    with stage(app="handlers:app", **settings) as on:
        on.start("scheduler")
        on.start("worker")
        api = on.start("api")
        url = api["api_url"]
        by = {"http": lambda: submit(url, args.rate, WARM_UP + args.seconds), "nats": partial(publish, on, args.rate, WARM_UP + args.seconds)}
        uvloop.run((by | {"sql": partial(enqueue, on, args.rate, WARM_UP + args.seconds)})[args.door]())
        values = asyncio.run(starts(on, int(args.rate * WARM_UP)))
        assert len(values) > 0.95 * args.rate * args.seconds, "not every task completed"
        report(start_ms=percentiles(values), rate=args.rate, door=args.door, tasks=len(values), traces=args.traces, api_mb=round(memory_mb(api["pid"]), 1))


if __name__ == "__main__":
    main()
