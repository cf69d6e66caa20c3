"""A network that splits: hosts in network namespaces behind one bridge. The bridge drops what a host that is cut off sends and gets; nobody is told.

It needs root and iproute2. The addresses are from the block for tests of networks (RFC 2544).
"""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

BLOCKED, FORWARDING = "0", "3"  # states of a port of a bridge
BITS: Final = 24


@dataclass(frozen=True)
class Host:
    """Where a process runs: its address, and what goes before its command."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    port: str = ""  # of the bridge

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Nobody else reaches this host during the block, and it reaches nobody."""
        _run("bridge", "link", "set", "dev", self.port, "state", BLOCKED)
        try:
            yield
        finally:
            _run("bridge", "link", "set", "dev", self.port, "state", FORWARDING)


@contextmanager
def hosts(count: int) -> Iterator[tuple[str, list[Host]]]:
    """The address of this side of the bridge, and so many hosts behind it, for the length of the block."""
    name = secrets.token_hex(3)
    bridge, subnet = f"wg{name}", f"198.18.{secrets.randbelow(256)}"
    made = [Host(f"{subnet}.{number}", ("ip", "netns", "exec", f"wg{name}-{number}"), f"wg{name}-{number}") for number in range(2, count + 2)]
    _run("ip", "link", "add", bridge, "type", "bridge")
    try:
        _run("ip", "address", "add", f"{subnet}.1/{BITS}", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for host in made:
            _attach(host, bridge)
        yield f"{subnet}.1", made
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "delete", host.port], check=False, capture_output=True)
        _run("ip", "link", "delete", bridge)


def _attach(host: Host, bridge: str) -> None:
    _run("ip", "netns", "add", host.port)
    _run("ip", "link", "add", host.port, "type", "veth", "peer", "name", "eth0", "netns", host.port)
    _run("ip", "link", "set", host.port, "master", bridge, "up")
    for line in ("address add 127.0.0.1/8 dev lo", "link set lo up", f"address add {host.address}/{BITS} dev eth0", "link set eth0 up"):
        _run(*host.prefix, "ip", *line.split())


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
