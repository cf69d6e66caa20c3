"""Where a request comes from. Behind proxies of one's own that is in X-Forwarded-For, to which each proxy adds the address that it sees at its end: so the
address of a client is as many places from the right as there are such proxies. What is left of it, a client can make up.
"""

import ipaddress
from typing import Any, Final

IPV6_NETWORK: Final = 64  # bits: what one customer of a provider has
LONGEST: Final = 45


def client(scope: Any, proxies: int) -> str:
    """The address of the client, `proxies` behind the one that connected to us."""
    peer = scope["client"][0] if scope.get("client") else ""
    if not proxies:
        return str(peer)
    given = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for").decode("latin-1")
    chain = [part.strip() for part in given.split(",") if part.strip()]
    found = chain[-proxies] if len(chain) >= proxies else (chain[0] if chain else peer)
    return _plain(found) or str(peer)


def bucket(address: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 network of an IPv6 address. Text that is no address is its own."""
    plain = _plain(address)
    if not plain:
        return address[:LONGEST]
    found = ipaddress.ip_address(plain)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, IPV6_NETWORK), strict=False))
    return str(found)


def _plain(text: str) -> str:
    """An address without brackets and port, an IPv4 address in IPv6 as itself; empty if it is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    return str(found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else str(found)
