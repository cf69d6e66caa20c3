"""Three NATS nodes with one JetStream between them; a test kills, pauses and restarts single nodes."""

import asyncio
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.facts import until
from support.servers import SECONDS, Server
from waggle.bus import users
from waggle_embedded import nats
from waggle_embedded.child import until as wait
from waggle_embedded.nats import Nats
from waggle_embedded.placement import free_port

NODES = 3


class ClusterNode(Server):
    """One node. It keeps its store, its port for clients and its port for the other nodes."""

    def __init__(self, folder: Path, name: str, route: int, routes: str, extra: str) -> None:
        self.name = name
        cluster = f'server_name: {name}\ncluster {{\n  name: waggle\n  listen: "127.0.0.1:{route}"\n  routes: [{routes}]\n}}\n'
        super().__init__(folder, lambda folder, port: nats.launch(folder, port=port, extra=cluster + extra))

    def answers(self) -> bool:
        return self._running.ready()

    def monitored(self, page: str) -> dict[str, Any]:
        """A page of its HTTP endpoint, such as `jsz?streams=1`."""
        assert isinstance(self._running, Nats)
        with urllib.request.urlopen(f"{self._running.monitor_url}/{page}", timeout=5) as answer:  # noqa: S310  # our own server
            found: dict[str, Any] = json.load(answer)
            return found


class NatsCluster:
    """All nodes, started together. `url` names all of them; give `nats_replicas=3` to what creates streams."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        ports = _free_ports(NODES)
        for number in range(1, NODES + 1):  # one user for all, as clients move from node to node
            home = folder / f"n{number}"
            home.mkdir(parents=True)
            (home / nats.PASSWORDS_FILE).write_text(json.dumps(dict.fromkeys(users.USERS, "of-a-test")))
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
        self.nodes = [ClusterNode(folder / f"n{number}", f"n{number}", port, routes, extra) for number, port in enumerate(ports, 1)]
        self.url = ",".join(node.url for node in self.nodes)
        self._wait(self.nodes)

    def kill(self, *nodes: ClusterNode) -> None:
        """Kill these (SIGKILL); all when none is given."""
        for node in nodes or self.nodes:
            node.kill()

    def start(self, *nodes: ClusterNode) -> None:
        """Start these after a kill, together, and wait until they answer; they may not have a leader yet."""
        for node in nodes or self.nodes:
            node.start()
        self._wait(nodes or self.nodes)

    async def led(self, seconds: float = 30.0) -> ClusterNode:
        """The node that leads the whole JetStream, once there is one; without a quorum of nodes there is none."""
        return await until(lambda: self._named(self._meta_leader), seconds, "the cluster has a leader")

    async def leader(self, stream: str, seconds: float = 30.0) -> ClusterNode:
        """The node that leads this stream, once there is one."""
        return await until(lambda: self._named(lambda node: self._stream_leader(node, stream)), seconds, f"{stream} has a leader")

    async def _named(self, ask: Callable[[ClusterNode], str]) -> ClusterNode | None:
        """The node that says of itself that it leads: others may not know yet, or not any more."""
        for node in self.nodes:
            try:
                if await asyncio.to_thread(ask, node) == node.name:
                    return node
            except OSError:  # it is dead
                continue
        return None

    def _meta_leader(self, node: ClusterNode) -> str:
        return str((node.monitored("jsz").get("meta_cluster") or {}).get("leader", ""))

    def _stream_leader(self, node: ClusterNode, stream: str) -> str:
        for account in node.monitored("jsz?streams=1&accounts=1").get("account_details") or []:
            for detail in account.get("stream_detail") or []:
                if detail["name"] == stream:
                    return str((detail.get("cluster") or {}).get("leader", ""))
        return ""

    def _wait(self, nodes: list[ClusterNode] | tuple[ClusterNode, ...]) -> None:
        for node in nodes:
            wait(node.answers, SECONDS, f"the start of {node.name}")


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    while len(ports) < count:
        if (port := free_port()) not in ports:
            ports.append(port)
    return ports
