"""Which addresses `http.request` may call: public ones, and what the operator allows. A payload must not reach the operator's own network (SSRF).

A name is resolved once, each of its addresses is checked, and the connection goes to one that passed.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, NamedTuple

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from waggle.settings.shared import SettingsError

Address = IPv4Address | IPv6Address

# Networks that `is_global` of Python 3.11 counts as public although not everybody may reach them.
NOT_PUBLIC: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's platform, from inside every machine there
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "100.64.0.0/10",  # carriers' NAT, and metadata services of some clouds
        "64:ff9b:1::/48",  # local NAT64
        "fec0::/10",  # site-local
        "2001::/23",  # protocol assignments, Teredo among them
        "::/96",  # IPv4 compatible
    )
)
LOOPBACK: Final = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
SIX_TO_FOUR: Final = ipaddress.IPv6Network("2002::/16")
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")


class AddressRefused(Exception):
    """An address that may not be called. The message is shown to the submitter and names no resolved address."""


class _Rule(NamedTuple):
    """What one entry allows: a network, or a host by name; on one port or any."""

    network: IPv4Network | IPv6Network | None
    host: str
    port: int | None


class AllowList:
    """Networks, addresses and host names (`*.` for all below one), each with an optional port. Raises SettingsError."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._rules = [rule for entry in entries for rule in _rules(entry)]

    def host(self, host: str, port: int) -> bool:
        """Whether a host may be called whatever its addresses are."""
        return any(rule.host and rule.port in (None, port) and _is_named(rule.host, host.lower().rstrip(".")) for rule in self._rules)

    def address(self, address: Address, port: int) -> bool:
        """Whether an address may be called: it is public, or allowed."""
        found = innermost(address)
        if is_public(found):
            return True
        return any(
            rule.network is not None and rule.port in (None, port) and rule.network.version == found.version and found in rule.network for rule in self._rules
        )

    def of(self, host: str, addresses: Iterable[str], port: int) -> list[str]:
        """The addresses of a host that may be called. Raises AddressRefused when there are none."""
        found = [text for text in addresses if self.host(host, port) or self.address(ipaddress.ip_address(text), port)]
        if not found:
            raise AddressRefused(f"{host[:100]} has no public address; an operator can allow it with WAGGLE_HTTP_ALLOW")
        return found


def innermost(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified:
        return False
    return not any(address.version == network.version and address in network for network in NOT_PUBLIC)


class CheckedResolver(AbstractResolver):
    """Resolves names for connections: aiohttp connects only to the addresses that this returns."""

    def __init__(self, allowed: AllowList) -> None:
        self._allowed = allowed
        self._resolver = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Raises AddressRefused, or OSError when the name is unknown."""
        found = await self._resolver.resolve(host, port, family)
        usable = set(self._allowed.of(host, [result["host"] for result in found], port))
        return [result for result in found if result["host"] in usable]

    async def close(self) -> None:
        await self._resolver.close()


def _rules(entry: str) -> list[_Rule]:
    text = entry.strip().lower()
    if (network := _network(text)) is not None:
        return [_Rule(network, "", None)]
    name, _, digits = text.rpartition(":")
    with_port = bool(name) and digits.isdecimal() and 0 < int(digits) < 65536
    name, port = (name, int(digits)) if with_port else (text, None)
    if with_port and (network := _network(name)) is not None:
        return [_Rule(network, "", port)]
    if not _HOST.fullmatch(name) or re.fullmatch(r"[0-9.]+", name):
        raise SettingsError(f"WAGGLE_HTTP_ALLOW: {entry!r} is not a network, address or host name, such as 10.0.0.0/8, [::1]:8080, localhost, *.internal:80")
    loopback = [_Rule(network, "", port) for network in LOOPBACK] if name == "localhost" else []
    return [_Rule(None, name, port), *loopback]


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ipaddress.ip_network(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _is_named(rule: str, host: str) -> bool:
    return host.endswith(rule[1:]) if rule.startswith("*.") else host == rule
