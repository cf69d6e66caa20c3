"""What it costs to ask who sends a request: single POSTs without keys, with one, and with one and a rate limit; and the check of a key alone.

    uv run python bench/access.py [--posts 20000] [--rounds 3] [--connections 64]

Three API processes on one system, one after the other in each round; the others are idle. Prints one JSON line: the rates of each in requests a second,
the ratios of the medians, and `check_us`, the microseconds that the check of a key takes that the API has seen.
"""

import argparse
import asyncio
import statistics
import time
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import uvloop
from litestar import Request

from load import post, run
from stage import FleetSettings, report, stage
from submit import TASK, Repeat
from waggle.admin import keys
from waggle.admin.keys import NewKey
from waggle.admin.trail import Trail
from waggle.api_keys import Fingerprints, instance_secret
from waggle.bus.access import NatsAccess
from waggle.bus.connection import Bus
from waggle.scopes import Scope
from waggle.store import postgres
from waggle_api.app import GROUPS
from waggle_api.edge.blocking import Blocking
from waggle_api.edge.identity import Identity
from waggle_api.edge.rates import Policy, Rates
from waggle_api.edge.tokens import Tokens

CHECKS = 100_000
SECRET = instance_secret()


async def made(settings: FleetSettings) -> str:
    """A key that may submit."""
    async with postgres.pool(settings, "bench", 1) as pool:
        _, key = await keys.create(pool, NewKey(comment="bench", scopes=[Scope.TASKS_WRITE]), "bench", Fingerprints(SECRET))
    return key.text


async def check_us(settings: FleetSettings, key: str) -> float:
    """The check of a key that is known, again and again, as a request asks for it."""
    (route,) = [route for group in GROUPS for route in group if route.name == "tasks_create"]
    headers = [(b"host", b"127.0.0.1:8420"), (b"content-type", b"application/json"), (b"authorization", f"Bearer {key}".encode())]
    request = cast("Request[Any, Any, Any]", SimpleNamespace(scope={"headers": headers, "client": ("127.0.0.1", 5000), "state": {"request_id": "x"}}))
    async with postgres.pool(settings, "bench", 2) as pool:
        blocking = Blocking(pool, Trail(SECRET), 20, 900.0)
        tokens, rates = Tokens(SECRET, "bench", "Ed25519"), Rates(Bus(NatsAccess([]), "bench"))
        identity = Identity(pool, SECRET, tokens, blocking=blocking, rates=rates, requests=Policy("requests", 0), proxies=0)
        await identity(request, route)
        began = time.perf_counter()
        for _ in range(CHECKS):
            await identity(request, route)
        return (time.perf_counter() - began) / CHECKS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    args = parser.parse_args()
    body = msgspec.json.encode(TASK)
    with stage(unknown_types="accept", api_secret=SECRET) as on:
        on.start("scheduler")
        key = asyncio.run(made(on.settings))
        header = f"authorization: Bearer {key}"
        urls = {
            "none": on.start("api", api_auth="none")["api_url"],
            "key": on.start("api", api_auth="required")["api_url"],
            "limit": on.start("api", api_auth="required", api_rate_requests=1_000_000_000)["api_url"],
        }
        kinds = {kind: (url, post(url, "/api/tasks", body, *([] if kind == "none" else [header]))) for kind, url in urls.items()}
        rates: dict[str, list[int]] = {kind: [] for kind in kinds}
        for request in kinds.values():
            uvloop.run(run_all(request, args.connections, 2_000))
        for _ in range(args.rounds):
            for kind, request in kinds.items():
                rates[kind].append(round(args.posts / uvloop.run(run_all(request, args.connections, args.posts))))
        middle = {kind: statistics.median(of) for kind, of in rates.items()}
        report(
            **{f"{kind}_per_s": of for kind, of in rates.items()},
            ratio_key=round(middle["key"] / middle["none"], 2),
            ratio_limit=round(middle["limit"] / middle["none"], 2),
            check_us=round(uvloop.run(check_us(on.settings, key)), 1),
            connections=args.connections,
        )


async def run_all(request: tuple[str, bytes], connections: int, count: int) -> float:
    """Seconds."""
    url, text = request
    seconds, _ = await run(url, connections, Repeat(text, count))
    return seconds


if __name__ == "__main__":
    main()
