"""Where a request comes from, behind proxies of one's own, and what counts as one client."""

from typing import Any

import pytest

from waggle_api.edge.addresses import bucket, client


def scope(*forwarded: str, peer: str = "10.0.0.1") -> dict[str, Any]:
    return {"client": (peer, 5000), "headers": [(b"x-forwarded-for", text.encode("latin-1")) for text in forwarded]}


@pytest.mark.parametrize(
    ("forwarded", "proxies", "found"),
    [
        ((), 0, "10.0.0.1"),
        (("203.0.113.7",), 0, "10.0.0.1"),  # nobody vouches for it
        (("203.0.113.7",), 1, "203.0.113.7"),
        (("1.1.1.1, 203.0.113.7",), 1, "203.0.113.7"),  # what the client made up is on the left
        (("1.1.1.1, 203.0.113.7, 10.0.0.2",), 2, "203.0.113.7"),
        (("1.1.1.1, 203.0.113.7", "10.0.0.2"), 2, "203.0.113.7"),
        (("203.0.113.7",), 2, "203.0.113.7"),  # fewer proxies than expected: the farthest that is known
        ((), 1, "10.0.0.1"),
        (("",), 1, "10.0.0.1"),
        (("nonsense",), 1, "10.0.0.1"),
        (("203.0.113.7:4711",), 1, "203.0.113.7"),
        (("[2001:db8::7]:4711",), 1, "2001:db8::7"),
        (("2001:db8::7",), 1, "2001:db8::7"),
        (("::ffff:203.0.113.7",), 1, "203.0.113.7"),
        (("fe80::1%eth0",), 1, "fe80::1"),
        (("\xe9",), 1, "10.0.0.1"),
    ],
)
def test_the_address_of_a_client(forwarded: tuple[str, ...], proxies: int, found: str) -> None:
    assert client(scope(*forwarded), proxies) == found


def test_a_thousand_made_up_addresses_are_one_client() -> None:
    found = {client(scope(f"1.1.{number // 256}.{number % 256}, 203.0.113.7"), 1) for number in range(1_000)}
    assert found == {"203.0.113.7"}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::1", "2001:db8::/64"),
        ("", ""),
        ("x" * 100, "x" * 45),
    ],
)
def test_what_counts_as_one_client(address: str, name: str) -> None:
    assert bucket(address) == name
