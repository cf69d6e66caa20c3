"""Where http.request may go: public addresses and what is allowed, however an address is written."""

import pytest

from waggle.settings.shared import SettingsError
from waggle_worker.http.addresses import AddressRefused, AllowList, CheckedResolver

PUBLIC = ["1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"]
PRIVATE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "168.63.129.16",  # noqa: S104
    "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::7f00:1", "2001::1",
    "2001:db8::1", "100::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2002:a00:1::1",
]  # fmt: skip


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_may_be_called(text: str) -> None:
    assert AllowList([]).of("a.example", [text], 443) == [text]


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_that_is_not_for_everybody_is_refused(text: str) -> None:
    with pytest.raises(AddressRefused):
        AllowList([]).of("a.example", [text], 80)


def test_of_several_addresses_only_those_that_are_allowed_are_called() -> None:
    assert AllowList([]).of("a.example", ["10.0.0.1", "1.1.1.1", "::1"], 80) == ["1.1.1.1"]


@pytest.mark.parametrize(
    ("entry", "host", "address", "port"),
    [
        ("10.0.0.0/8", "a.example", "10.1.2.3", 80),
        ("10.0.0.0/8", "a.example", "::ffff:10.1.2.3", 80),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1", 8080),
        ("10.0.0.1:8080", "10.0.0.1", "10.0.0.1", 8080),
        ("fd00::/8", "a.example", "fd00::1", 80),
        ("[::1]:80", "::1", "::1", 80),
        ("localhost", "localhost", "::1", 5000),
        ("localhost", "127.0.0.1", "127.0.0.1", 5000),
        ("localhost:5000", "LOCALHOST", "127.0.0.1", 5000),
        ("db.internal", "db.internal.", "10.0.0.1", 80),
        ("*.internal", "a.b.internal", "10.0.0.1", 80),
        ("*.internal:80", "a.internal", "10.0.0.1", 80),
    ],
)
def test_what_is_allowed_may_be_called(entry: str, host: str, address: str, port: int) -> None:
    assert AllowList([entry]).of(host, [address], port) == [address]


@pytest.mark.parametrize(
    ("entry", "host", "address", "port"),
    [
        ("10.0.0.0/8", "a.example", "192.168.0.1", 80),
        ("10.0.0.1:8080", "10.0.0.1", "10.0.0.1", 80),
        ("localhost:5000", "localhost", "127.0.0.1", 5001),
        ("localhost", "a.example", "10.0.0.1", 80),
        ("*.internal", "internal", "10.0.0.1", 80),
        ("*.internal", "evilinternal", "10.0.0.1", 80),
        ("db.internal", "db.internal.example", "10.0.0.1", 80),
    ],
)
def test_what_is_allowed_is_no_more_than_it_says(entry: str, host: str, address: str, port: int) -> None:
    with pytest.raises(AddressRefused):
        AllowList([entry]).of(host, [address], port)


@pytest.mark.parametrize("entry", ["10.0.0.0/33", "10.1.0.0/8", "http://a.example", "a b", "", "*", "a..b", "1.2.3", "a.example:0", "a.example:99999"])
def test_an_entry_that_is_none_is_told_at_the_start(entry: str) -> None:
    with pytest.raises(SettingsError, match="WAGGLE_HTTP_ALLOW"):
        AllowList([entry])


@pytest.mark.parametrize("host", ["localhost", "0x7f.1", "2130706433", "0177.0.0.1", "127.1"])
async def test_a_name_is_judged_by_the_addresses_that_it_resolves_to(host: str) -> None:
    resolver = CheckedResolver(AllowList([]))
    with pytest.raises(AddressRefused):
        await resolver.resolve(host, 80)
    await resolver.close()
