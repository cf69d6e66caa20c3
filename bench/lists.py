"""How long the API takes to list and filter tasks."""

import http.client
import time
import uuid
from urllib.parse import urlencode, urlsplit

from past import DAYS
from waggle_api.http import cursors

CALLS = 30
MOST_SECONDS = 6.0  # for the calls of one list; slow ones are called less often


def listings() -> dict[str, dict[str, str]]:
    """The name and the query of each list."""
    half = time.time() - DAYS * 86_400 / 2
    cursor = cursors.write(uuid.UUID(int=int(half * 1000) << 80))
    return {
        "newest": {},
        "newest, limit=1000": {"limit": "1000"},
        "status=failed": {"status": "failed"},
        "status=pending": {"status": "pending"},
        "status=completed": {"status": "completed"},
        "type (one task in 20)": {"type": "shop.type7"},
        "queue (one task in 20)": {"queue": "reports"},
        "cursor (in the middle)": {"cursor": cursor},
        "cursor and status=failed": {"cursor": cursor, "status": "failed"},
        "type (one task in 10,000)": {"type": "shop.rare"},
        "type (no task)": {"type": "shop.nothing"},
        "metadata (no task)": {"metadata": '{"none":1}'},
        "created_to (in the middle)": {"created_to": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(half))},
    }


def measure(url: str) -> dict[str, object]:
    """Milliseconds of each list: p50 and p95 of 30 calls over one connection."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    return {name: timed(connection, "/api/tasks?" + urlencode(query)) for name, query in listings().items()}


def timed(connection: http.client.HTTPConnection, path: str) -> dict[str, object]:
    took: list[float] = []
    statuses: set[int] = set()
    while len(took) < CALLS and sum(took) < MOST_SECONDS:
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        took.append(time.perf_counter() - began)
        statuses.add(answer.status)
    ordered = sorted(took)
    found: dict[str, object] = {f"p{q}": round(ordered[min(len(ordered) - 1, len(ordered) * q // 100)] * 1000, 1) for q in (50, 95)}
    return found if len(took) == CALLS and statuses == {200} else {**found, "calls": len(took), "statuses": sorted(statuses)}
