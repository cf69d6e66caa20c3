"""How fast one API process accepts tasks, in batches and one by one.

    uv run python bench/submit.py [--tasks 100000] [--batch 500] [--posts 20000] [--connections 64]

Every 2xx is a task that is committed to Postgres and was rung. Prints one JSON line: submit_per_s (tasks a second by
POST /api/tasks/batch), post_per_s (requests a second by POST /api/tasks) and post_ms (response times).
"""

import argparse
import asyncio

import msgspec
import uvloop

from load import post, run
from stage import FleetSettings, percentiles, report, stage
from waggle.store import postgres

TASK = {"type": "demo.echo", "payload": {"to": "user@example.com", "subject": "hello", "body": "x" * 200}}


class Repeat:
    """The same request `times` times."""

    def __init__(self, request: bytes, times: int) -> None:
        self.request, self.left = request, times

    def __call__(self) -> bytes | None:
        self.left -= 1
        return self.request if self.left >= 0 else None


async def stored(settings: FleetSettings) -> int:
    async with postgres.pool(settings, "bench", 1) as pool:
        return int(await pool.fetchval("SELECT count(*) FROM waggle.tasks"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--posts", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=64)
    args = parser.parse_args()
    with stage(unknown_types="accept") as on:
        on.start("scheduler")
        url = on.start("api")["api_url"]
        single = post(url, "/api/tasks", msgspec.json.encode(TASK))
        batch = post(url, "/api/tasks/batch", msgspec.json.encode({"tasks": [TASK] * args.batch}))
        uvloop.run(run(url, 4, Repeat(batch, 20)))  # warm-up
        seconds, _ = uvloop.run(run(url, 4, Repeat(batch, args.tasks // args.batch)))
        uvloop.run(run(url, args.connections, Repeat(single, 1000)))
        post_seconds, took = uvloop.run(run(url, args.connections, Repeat(single, args.posts)))
        expected = (20 + args.tasks // args.batch) * args.batch + 1000 + args.posts
        found = asyncio.run(stored(on.settings))
        assert found == expected, f"{expected} accepted, {found} in the database"
        report(
            submit_per_s=round(args.tasks // args.batch * args.batch / seconds),
            post_per_s=round(args.posts / post_seconds),
            post_ms=percentiles([t * 1000 for t in took]),
            batch=args.batch,
            connections=args.connections,
        )


if __name__ == "__main__":
    main()
