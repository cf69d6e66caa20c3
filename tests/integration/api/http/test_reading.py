"""Reads in other ways than a plain GET: HEAD, compressed answers, and the short ways to the page."""

import asyncio
import gzip
import sys

import httpx2
import pytest

from support.processes import Process
from support.system import Client, client_of, ok
from waggle_api.app import GROUPS
from waggle_api.http.compression import CODINGS, LEAST_BYTES, chosen

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DECODED = {"gzip": gzip.decompress, "zstd": zstd.decompress}
READS = [(group, route) for group in GROUPS for route in group if route.method == "GET"]
PLAIN = sorted({path if group.is_probe else f"/api{path}" for group, route in READS for path in route.paths if "{" not in path})
CHANGES = {"date", "x-request-id", "server-timing", "content-length", "transfer-encoding"}  # from answer to answer


async def raw(api: Client, path: str, accepted: str, method: str = "GET", **more: object) -> tuple[httpx2.Headers, bytes]:
    """The headers of an answer, and its body as it was sent."""
    async with api.stream(method, path, headers={"accept-encoding": accepted}, **more) as answer:  # type: ignore[arg-type]
        return answer.headers, b"".join([part async for part in answer.aiter_raw()])


@pytest.mark.parametrize("path", [path for path in PLAIN if path != "/api/auth/oidc/callback"])
async def test_head_is_get_without_its_body(api: Client, path: str) -> None:
    async with asyncio.timeout(10):
        async with api.stream("GET", path) as get:
            pass
        head = await api.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert {name: value for name, value in head.headers.items() if name not in CHANGES} == {
        name: value for name, value in get.headers.items() if name not in CHANGES
    }
    assert "content-length" in head.headers or path == "/api/events"


async def test_head_has_the_length_of_get_and_the_connection_goes_on(api: Client) -> None:
    for accepted in ("identity", "gzip"):
        head, nothing = await raw(api, "/schema/openapi.json", accepted, "HEAD")
        get, body = await raw(api, "/schema/openapi.json", accepted)
        assert (nothing, head["content-length"], get["content-length"]) == (b"", str(len(body)), str(len(body)))


async def test_a_long_list_of_codings_is_read_as_a_short_one(api: Client) -> None:
    headers, body = await raw(api, "/schema/openapi.json", "gzip" + ", x-none;q=0" * 100)
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(body).startswith(b"{")


async def test_head_is_refused_where_get_is_not(api: Client, process: Process) -> None:
    answer = await api.head("/api/tasks/batch")
    assert (answer.status_code, {*answer.headers["allow"].split(", ")}) == (405, {"POST", "OPTIONS"})
    async with client_of(process, None) as nobody:
        assert (await nobody.head("/api/tasks")).status_code == 401
    assert (await api.head("/api/tasks/x")).status_code == 404
    assert (await api.options("/api/tasks")).headers["allow"] == "GET, HEAD, OPTIONS, POST"


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("path", ["/schema/openapi.json", "/api/tasks?limit=100", "/metrics"])
async def test_large_answers_to_reads_are_compressed(api: Client, path: str, coding: str) -> None:
    await api.submit_many([{"type": "test.work", "metadata": {"n": number}} for number in range(20)])
    plain, body = await raw(api, path, "identity")
    assert (len(body) > LEAST_BYTES, "content-encoding" in plain, plain["vary"]) == (True, False, "Accept-Encoding")
    headers, packed = await raw(api, path, coding)
    assert (headers["content-encoding"], headers["content-length"]) == (coding, str(len(packed)))
    assert "Accept-Encoding" in headers.get_list("vary")
    assert len(packed) < len(body) / 2
    if path != "/metrics":  # which counts this request
        assert DECODED[coding](packed) == body


async def test_answers_to_writes_and_small_ones_and_what_holds_secrets_stay_as_they_are(api: Client) -> None:
    many = {"tasks": [{"type": "test.work"}] * 20}
    for method, path, body in [("POST", "/api/tasks/batch", many), ("GET", "/livez", None), ("GET", "/api/nats/publishers", None)]:
        headers, _ = await raw(api, path, "gzip, zstd", method, json=body)
        assert "content-encoding" not in headers, path
    for number in range(10):
        ok(await api.post("/api/publishers", json={"name": f"p{number}", "queues": ["default"]}), 201)
    headers, body_of_secrets = await raw(api, "/api/nats/publishers", "gzip, zstd")
    assert (len(body_of_secrets) > LEAST_BYTES, "content-encoding" in headers) == (True, False)
    assert headers["cache-control"] == "no-store, no-transform"


async def test_events_are_not_held_back(api: Client) -> None:
    async with asyncio.timeout(10), api.stream("GET", "/api/events", headers={"accept-encoding": "gzip, zstd"}) as stream:
        assert "content-encoding" not in stream.headers
        assert await anext(stream.aiter_raw()) == b"retry: 2000\n\n"


LIKED = {
    "": None,
    "identity": None,
    "gzip": "gzip",
    "gzip, deflate, br, zstd": "zstd",
    "zstd;q=0.5, gzip": "gzip",
    "GZIP ; Q=0.8": "gzip",
    "gzip;q=0, zstd;q=0": None,
    "*": "zstd",
    "*;q=0.5, zstd;q=0": "gzip",
    "identity, gzip;q=0.5": None,
    "gzip;q=much": None,
    "br": None,
}


@pytest.mark.parametrize(("accepted", "coding"), LIKED.items())
def test_the_client_chooses_the_coding(accepted: str, coding: str | None) -> None:
    assert chosen(accepted) == coding


async def test_short_addresses_lead_to_the_page(api: Client) -> None:
    for path in ("/", "/docs"):
        answer = await api.get(path)
        assert (answer.status_code, answer.headers["location"]) == (302, "/schema")
        assert "rapidoc" in (await api.get(path, headers={"accept": "text/html"}, follow_redirects=True)).text
