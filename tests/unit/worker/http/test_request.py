"""The parts of `http.request` that need no network: Retry-After, the names of its breakers, its payload's schema."""

from datetime import UTC, datetime

import jsonschema_rs
import pytest
from yarl import URL

from support.fleet import FleetSettings
from waggle.context import checked_breaker
from waggle_worker.http.request import RETRY_AFTER_LIMIT_SECONDS, Outgoing, breaker_name, retry_after

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("999999", RETRY_AFTER_LIMIT_SECONDS),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 60.0),
        ("Saturday, 31-Jan-26 12:01:00 GMT", 60.0),
        ("Sat Jan 31 12:01:00 2026", 60.0),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0.0),
        ("Sat, 31 Jan 2099 12:00:00 GMT", RETRY_AFTER_LIMIT_SECONDS),
    ],
)
def test_retry_after_is_seconds_or_a_time_and_bounded(text: str, seconds: float) -> None:
    found = retry_after({"retry-after": text}, NOON)
    assert found is not None
    assert seconds <= found <= seconds * 1.1


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "1" * 40, "Sat, 99 Jan 2026 12:01:00 GMT"])
def test_a_retry_after_that_says_nothing_leaves_it_to_the_backoff(text: str) -> None:
    assert retry_after({"retry-after": text}, NOON) is None


def test_a_time_counts_by_the_servers_own_clock() -> None:
    headers = {"retry-after": "Sat, 31 Jan 2026 12:01:00 GMT", "date": "Sat, 31 Jan 2026 12:00:30 GMT"}
    assert 30.0 <= (retry_after(headers, NOON) or 0.0) <= 33.0


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://API.Example.com/x?y", "http:api.example.com"),
        ("https://api.example.com.", "http:api.example.com"),
        ("http://api.example.com:8080/", "http:api.example.com:8080"),
        ("http://[2001:db8::1]:81/", "http:2001:db8::1:81"),
        ("http://bücher.example/", "http:xn--bcher-kva.example"),
    ],
)
def test_there_is_one_breaker_a_host(url: str, name: str) -> None:
    assert breaker_name(URL(url)) == name == checked_breaker(name)


def test_the_longest_host_has_a_name_of_its_own_too() -> None:
    names = {breaker_name(URL(f"http://{'a' * 60}.{'b' * 60}.{'c' * 60}.{end}/")) for end in ("example", "sample")}
    assert len(names) == 2
    assert all(checked_breaker(name) == name for name in names)


async def test_its_schema_refuses_at_the_door_what_cannot_be_sent() -> None:
    check = jsonschema_rs.validator_for(Outgoing(FleetSettings(postgres_url="x", nats_url="x")).app().handlers["http.request"].schema).is_valid
    good = {"url": "https://a.example/", "method": "PUT", "headers": {"X-A": "1"}, "json": [1], "timeout": 5, "expected_status": [200, 404]}
    assert check(good)
    for wrong in (
        {"url": "ftp://a.example/"},
        {"method": "BREW"},
        {"headers": {"X A": "1"}},
        {"headers": {"X-A": "1\r\nX-B: 2"}},
        {"timeout": 0},
        {"expected_status": [99]},
        {"follow": True},
    ):
        assert not check({**good, **wrong}), wrong
