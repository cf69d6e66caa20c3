"""Which hosts a request may name, and which web pages may write."""

import socket

import pytest

from waggle_api.edge.pages import Pages
from waggle_api.refusals import ForeignPage, WrongHost

PAGES = Pages(["waggle.example.com", "tasks.example.com:8443"])
HERE = b"127.0.0.1:8420"


def headers(**given: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:8420", "10.1.2.3:80", "[::1]", "[::1]:8420", "[fd00::1]"),
        *("localhost", "LOCALHOST:8420", "localhost.", "waggle.localhost:8420"),
        *("waggle.example.com", "Waggle.Example.com", "waggle.example.com:443", "waggle.example.com.", "tasks.example.com:8443", socket.gethostname()),
    ],
)
def test_its_own_names_are_served(host: str) -> None:
    PAGES.check("GET", headers(host=host))


@pytest.mark.parametrize(
    "host",
    [
        *("example.com", "evil.example", "evil.example:8420", "waggle.example.com.evil.example", "localhost.evil.example", "notlocalhost"),
        *("", " ", "a b", "127.0.0.1.evil.example", "evil.example/127.0.0.1", "user@127.0.0.1", "127.0.0.1:80:80", "tasks.example.com", "999.1.1.1", "[::1"),
    ],
)
def test_every_other_name_is_refused(host: str) -> None:
    with pytest.raises(WrongHost, match="WAGGLE_API_HOSTS"):
        PAGES.check("GET", headers(host=host))


def test_two_hosts_are_refused_and_none_is_served() -> None:
    with pytest.raises(WrongHost):
        PAGES.check("GET", [(b"host", HERE), (b"host", HERE)])
    PAGES.check("GET", [])  # a load balancer's check by HTTP/1.0; no browser sends that


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://127.0.0.1:8420"},
        {"origin": "http://127.0.0.1:8420", "sec_fetch_site": "same-origin"},
        {"origin": "https://waggle.example.com", "sec_fetch_site": "same-site"},
        {"origin": "https://tasks.example.com:8443"},
    ],
)
def test_its_own_pages_and_other_clients_may_write(given: dict[str, str]) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        PAGES.check(method, headers(host=HERE.decode(), **given))


@pytest.mark.parametrize(
    "given",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "something new"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9000", "sec_fetch_site": "same-site"},
        {"origin": "http://127.0.0.1:8420", "sec_fetch_site": "same-site"},
        {"origin": "http://127.0.0.1"},
        {"origin": "file://127.0.0.1:8420"},
        {"origin": "https://waggle.example.com.evil.example"},
        {"origin": "https://tasks.example.com"},
    ],
)
def test_foreign_pages_may_read_and_not_write(given: dict[str, str]) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        PAGES.check(method, headers(host=HERE.decode(), **given))
    for method in ("POST", "PUT", "PATCH", "DELETE", "PURGE"):
        with pytest.raises(ForeignPage):
            PAGES.check(method, headers(host=HERE.decode(), **given))
