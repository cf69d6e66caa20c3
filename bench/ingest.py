"""How fast messages that were published to NATS become tasks in one API process, beside its rate of single POSTs.

    uv run python bench/ingest.py [--messages 20000] [--posts 10000] [--connections 64] [--rounds 3] [--ids]

A round sends POSTs, then publishes messages and waits until all of them are tasks. `--ids` gives each message a Nats-Msg-Id,
which is its idempotency key. Prints one JSON line: post_per_s and ingest_per_s of each round, their medians and the ratio.
"""

import argparse
import asyncio
import statistics
import time

import msgspec
import nats
import uvloop

from load import post, run
from stage import FleetSettings, report, stage
from submit import TASK, Repeat
from waggle.store import postgres

SUBJECT = "waggle.submit.bench.demo.echo"
LOOK_SECONDS = 0.02
IN_FLIGHT = 2_000  # unacknowledged publishes


async def ingest(settings: FleetSettings, messages: int, *, ids: bool) -> float:
    """Seconds from the first publish until the last message is a task."""
    client = await nats.connect(settings.nats_url)
    body, mark = msgspec.json.encode(TASK), time.time_ns()
    async with postgres.pool(settings, "bench", 1) as pool:
        first = (await client.jetstream().stream_info("WAGGLE_SUBMIT")).state.last_seq
        before, began = int(await pool.fetchval("SELECT count(*) FROM waggle.tasks")), time.perf_counter()
        for number in range(messages):
            await client.publish(SUBJECT, body, headers={"Nats-Msg-Id": f"{mark}-{number}"} if ids else None)
            if number % IN_FLIGHT == 0:
                await client.flush()
        await client.flush()
        while True:
            state = (await client.jetstream().stream_info("WAGGLE_SUBMIT")).state
            if state.last_seq - first == messages and not state.messages:
                break
            await asyncio.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        found = int(await pool.fetchval("SELECT count(*) FROM waggle.tasks")) - before
    await client.close()
    assert found == messages, f"{messages} published, {found} more tasks"
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--posts", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ids", action="store_true")
    args = parser.parse_args()
    with stage(unknown_types="accept") as on:
        on.start("scheduler")
        url = on.start("api")["api_url"]
        single = post(url, "/api/tasks", msgspec.json.encode(TASK))
        uvloop.run(run(url, args.connections, Repeat(single, 1000)))
        uvloop.run(ingest(on.settings, 1000, ids=args.ids))
        posts, ingested = [], []
        for _ in range(args.rounds):
            seconds, _ = uvloop.run(run(url, args.connections, Repeat(single, args.posts)))
            posts.append(round(args.posts / seconds))
            ingested.append(round(args.messages / uvloop.run(ingest(on.settings, args.messages, ids=args.ids))))
        ratio = statistics.median(ingested) / statistics.median(posts)
        report(
            ingest_per_s=statistics.median(ingested), post_per_s=statistics.median(posts), ratio=round(ratio, 2), ingests=ingested, posts=posts, ids=args.ids
        )


if __name__ == "__main__":
    main()
