"""The limits of requests: what cannot be read, is too large or cannot be stored gets a clear error before any write."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import asyncpg
import pytest

from support.processes import Process
from support.servers import run
from support.system import Client, ok
from waggle.nesting import LEVELS
from waggle.store import catalogue
from waggle.store import postgres as store

JSON = {"content-type": "application/json"}
MIB = 1 << 20


def sized(size: int) -> str:
    """An object with `size` bytes of JSON."""
    return '{"a":"' + "x" * (size - 8) + '"}'


@pytest.fixture(scope="module", autouse=True)
def open_type(process: Process) -> None:
    """A type that takes any object."""

    async def announce() -> None:
        async with store.pool(process.settings, "test", 1) as pool:
            await catalogue.announce(pool, [catalogue.TaskType("any.thing", "default", 3, 300.0, True, '{"type":"object"}')], ["default"])

    run(announce())


def deep(levels: int) -> str:
    """An object nested so deep."""
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


def body(payload: str = "{}", **fields: str) -> bytes:
    """A task of a type that takes any object; fields are JSON text."""
    more = "".join(f',"{name}":{text}' for name, text in fields.items())
    return f'{{"type":"any.thing","payload":{payload}{more}}}'.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        pytest.param(body(sized(MIB)), 201, "", id="payload of 1 MiB"),
        pytest.param(body(sized(MIB + 1)), 422, "payload", id="payload of 1 MiB and a byte"),
        pytest.param(body(metadata=sized(64 << 10)), 201, "", id="metadata of 64 KiB"),
        pytest.param(body(metadata=sized((64 << 10) + 1)), 422, "metadata", id="metadata of 64 KiB and a byte"),
        pytest.param(body(metadata='{"a":[' + ",".join(["1e-16000"] * 5) + "]}"), 422, "metadata", id="metadata that grow when they are stored"),
        pytest.param(body(metadata='{"a":[' + ",".join(["1e308"] * 300) + "]}"), 422, "metadata", id="metadata with many large numbers"),
        pytest.param(body(metadata='{"a":[1.5e3,-2E-7,0.25],"commit":"41e16000"}'), 201, "", id="metadata with exponents"),
        pytest.param(body(description='"' + "é" * 4096 + '"'), 201, "", id="description of 4096 characters"),
        pytest.param(body(description='"' + "é" * 4097 + '"'), 422, "description", id="description of 4097 characters"),
        pytest.param(body(unique_key='"' + "k" * 257 + '"'), 422, "unique_key", id="unique_key of 257 characters"),
        pytest.param(body(r'{"a":"\u0000"}'), 422, "payload", id="NUL in a payload"),
        pytest.param(body(r'{"\u0000":1}'), 422, "payload", id="NUL in a key"),
        pytest.param(body(r'{"a":"\\u0000"}'), 201, "", id="a backslash before u0000"),
        pytest.param(body(r'{"a":"\\\u0000"}'), 422, "payload", id="a backslash and NUL"),
        pytest.param(body(metadata=r'{"a":"\u0000"}'), 422, "metadata", id="NUL in metadata"),
        pytest.param(body(description=r'"\u0000"'), 422, "description", id="NUL in a description"),
        pytest.param(body(unique_key=r'"\u0000"'), 422, "unique_key", id="NUL in a unique_key"),
        pytest.param(body(r'{"a":"\ud800"}'), 400, "", id="a lone surrogate"),
        pytest.param(body(r'{"a":"\ud83d\ude00"}'), 201, "", id="a pair of surrogates"),
        pytest.param(body('{"a":"\ud800"}'), 400, "", id="a surrogate in UTF-8"),
        pytest.param(b'{"type":"any.thing","payload":{"a":"\xff"}}', 400, "", id="not UTF-8"),
        pytest.param(body(deep(LEVELS)), 201, "", id="at the limit of levels"),
        pytest.param(body(deep(LEVELS + 1)), 400, "", id="one level too deep"),
        pytest.param(body(deep(1000)), 400, "", id="1000 levels deep"),
        pytest.param(body(deep(100_000)), 400, "", id="100000 levels deep"),
        pytest.param(body(metadata=deep(LEVELS)), 201, "", id="metadata at the limit of levels"),
        pytest.param(body(metadata=deep(LEVELS + 1)), 400, "", id="metadata one level too deep"),
        pytest.param(body(colour=deep(LEVELS)), 422, "colour", id="an unknown field at the limit of levels"),
        pytest.param(body(colour=deep(LEVELS + 1)), 400, "", id="an unknown field one level too deep"),
        pytest.param(b"[" * LEVELS + b"]" * LEVELS, 422, "type", id="no task, at the limit of levels"),
        pytest.param(b"[" * (LEVELS + 1) + b"]" * (LEVELS + 1), 400, "", id="no task, one level too deep"),
        pytest.param(body('{"a":"' + "[{" * 1000 + '"}'), 201, "", id="brackets in a string"),
        pytest.param(body('{"a":NaN}'), 400, "", id="NaN"),
        pytest.param(body('{"a":Infinity}'), 400, "", id="Infinity"),
        pytest.param(body('{"a":1e400}'), 400, "", id="1e400"),
        pytest.param(body('{"a":' + "1" * 5000 + "}"), 400, "", id="a number of 5000 digits"),
        pytest.param(body(metadata='{"a":1e400}'), 400, "", id="1e400 in metadata"),
        pytest.param(body('{"a":1e308}'), 201, "", id="1e308"),
        pytest.param(body("[]"), 422, "payload", id="a payload that is a list"),
        pytest.param(b"", 400, "", id="nothing"),
        pytest.param(b"{", 400, "", id="half a body"),
        pytest.param(body() + b"x", 400, "", id="more behind it"),
        pytest.param(b"\xef\xbb\xbf" + body(), 400, "", id="a byte order mark"),
        pytest.param(b"[]", 422, "type", id="a list"),
        pytest.param(b"7", 422, "type", id="a number"),
        pytest.param(body(sized(2 * MIB)), 413, "", id="a body over 2 MiB"),
    ],
)
async def test_limits(api: Client, content: bytes, status: int, field: str) -> None:
    answer = await api.post("/api/tasks", content=content, headers=JSON)
    assert answer.status_code == status, answer.text
    assert [error["field"] for error in answer.json().get("errors", [])] == ([field] if field else [])
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == ("validation_error" if status == 422 else "invalid_input")


@pytest.mark.parametrize(("levels", "status"), [(LEVELS, 201), (LEVELS + 1, 400)])
async def test_a_task_of_a_batch_may_be_as_deep_as_a_single_one(api: Client, levels: int, status: int) -> None:
    tasks = b",".join([body(deep(2)), body(deep(levels)), body(metadata=deep(levels))])
    answer = await api.post("/api/tasks/batch", content=b'{"tasks":[' + tasks + b"]}", headers={**JSON, "idempotency-key": f"{levels} levels"})
    assert answer.status_code == status, answer.text
    assert (answer.json().get("code") == "invalid_input") == (status == 400)


async def test_what_is_at_the_limit_of_levels_is_shown_and_listed(api: Client) -> None:
    created = ok(await api.post("/api/tasks", content=body(deep(LEVELS), metadata=deep(LEVELS)), headers=JSON), 201)
    assert ok(await api.get(f"/api/tasks/{created['id']}"))["payload"] == json.loads(deep(LEVELS))
    listed = ok(await api.get("/api/tasks", params={"metadata": deep(LEVELS)}))["items"]
    assert created["id"] in [task["id"] for task in listed]
    assert (await api.get("/api/tasks", params={"metadata": deep(LEVELS + 1)})).status_code == 422


async def test_a_batch_may_have_16_mib(api: Client) -> None:
    large = body(sized(MIB - 100))
    assert len(ok(await api.post("/api/tasks/batch", content=b"[" + b",".join([large] * 15) + b"]", headers=JSON), 201)["items"]) == 15
    assert (await api.post("/api/tasks/batch", content=b"[" + b",".join([large] * 17) + b"]", headers=JSON)).status_code == 413


async def test_a_body_without_a_length_is_refused_while_it_arrives(api: Client) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" " * 65_536

    assert (await api.post("/api/tasks", content=endless(), headers=JSON)).status_code == 413


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"a: " + b"x" * 65_531 + b"\r\n"], ids=["one header", "many headers"])
async def test_a_head_without_an_end_is_refused_while_it_arrives(process: Process, piece: bytes) -> None:
    address = urlsplit(process.api_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\ny: ")
    answer = asyncio.create_task(reader.read(12))
    with contextlib.suppress(ConnectionError):  # closed while we were writing
        for _ in range(200):
            if answer.done():
                break
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        else:
            raise AssertionError("the API took 12 MiB of a head")
    writer.close()
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):  # what was on its way when the connection was closed may take the answer with it
            assert await answer == b"HTTP/1.1 400"


async def test_a_body_in_pieces_is_read_whole(api: Client) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in body('{"a":1}'):
            yield bytes([byte])

    assert (await api.post("/api/tasks", content=pieces(), headers=JSON)).status_code == 201


@pytest.mark.parametrize(
    "headers", [{"content-type": "text/plain"}, {"content-type": "application/json; charset=latin-1"}, {**JSON, "content-encoding": "gzip"}]
)
async def test_another_format_is_refused(api: Client, headers: dict[str, str]) -> None:
    assert ok(await api.post("/api/tasks", content=body(), headers=headers), 415)["code"] == "invalid_input"


@pytest.mark.parametrize("key", ["x" * 256, "", "é", "tab\tbed"])
async def test_an_invalid_key_is_refused(api: Client, key: str) -> None:
    assert (await api.post("/api/tasks", content=body(), headers=[*JSON.items(), ("idempotency-key", key.encode())])).status_code == 400  # type: ignore[list-item]


async def test_unknown_addresses_and_methods_are_problems(api: Client) -> None:
    for path in ("/nothing", "/api", "/api/nothing", "/api/tasks/a/b/c", "/api/v2/tasks"):
        problem = ok(await api.get(path), 404)
        assert (problem["code"], problem["status"]) == ("not_found", 404)
        assert problem["alternativeAction"] == "Look the address up at /schema.", "an unknown address is no unknown id"
    answer = await api.put("/api/tasks", json={})
    assert (ok(answer, 405)["code"], set(answer.headers["allow"].split(", "))) == ("invalid_input", {"GET", "HEAD", "POST", "OPTIONS"})
    assert (await api.post("/health")).status_code == 405


@pytest.mark.parametrize("given", ["abc-DEF_1.2", "x" * 128])
async def test_a_request_id_is_kept_on_every_answer(api: Client, given: str) -> None:
    for path in ("/livez", "/api/tasks", "/nothing"):
        answer = await api.get(path, headers={"x-request-id": given})
        assert answer.headers.get_list("x-request-id") == [given]
    assert answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\u00e4", 'a"'])
async def test_an_invalid_request_id_is_replaced(api: Client, given: str) -> None:
    answer = await api.get("/livez", headers=[("x-request-id", given.encode())])  # type: ignore[list-item]
    assert len(answer.headers["x-request-id"]) == 16


async def test_nothing_of_what_was_refused_was_written(api: Client, process: Process, rows: "asyncpg.Pool[asyncpg.Record]") -> None:
    before = await rows.fetchval("SELECT count(*) FROM waggle.tasks")
    for content in (body("[]"), body(r'{"a":"\u0000"}'), body(sized(MIB + 1)), b"{"):
        assert (await api.post("/api/tasks", content=content, headers=JSON)).status_code >= 400
    assert await rows.fetchval("SELECT count(*) FROM waggle.tasks") == before
    assert not process.logged("request crashed")
