"""nats-server with a configuration of the test's own, and what its users sign in with: nkeys, and the files of credentials of an operator's users."""

import base64
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import nkeys

from support.servers import SECONDS
from waggle.bus import users
from waggle_embedded.binaries import find_nats
from waggle_embedded.child import last_lines, spawn
from waggle_embedded.placement import free_port

UNLIMITED = ("subs", "conn", "leaf", "imports", "exports", "data", "payload", "mem_storage", "disk_storage", "streams", "consumer")


class Nkey(NamedTuple):
    """`seed` is the secret, `public` the name."""

    seed: str
    public: str

    @classmethod
    def made(cls, kind: int = nkeys.PREFIX_BYTE_USER) -> "Nkey":
        """A new one."""
        seed = nkeys.encode_seed(os.urandom(32), kind)
        return cls(seed.decode(), nkeys.from_seed(bytearray(seed)).public_key.decode())

    def jwt(self, subject: "Nkey", name: str, nats: dict[str, Any]) -> str:
        """What this one says of another, as nsc makes it."""
        claims = {"iat": int(time.time()), "iss": self.public, "name": name, "sub": subject.public, "nats": {**nats, "version": 2}}
        claims["jti"] = base64.b32encode(hashlib.sha256(json.dumps(claims).encode()).digest()).decode().rstrip("=")
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)]
        signed = nkeys.from_seed(bytearray(self.seed.encode())).sign(b".".join(parts))
        return b".".join([*parts, base64.urlsafe_b64encode(signed).rstrip(b"=")]).decode()


class Operator(NamedTuple):
    """`configuration` makes a server trust it; `credentials` is the text of a file of one of its users."""

    configuration: str
    credentials: str

    @classmethod
    def made(cls) -> "Operator":
        """One with an account for Waggle and a user in it."""
        operator, account, system, user = map(
            Nkey.made, (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
        )
        limits = {"limits": {**dict.fromkeys(UNLIMITED, -1), "wildcards": True}, "type": "account"}
        accounts = {one.public: operator.jwt(one, name, limits) for one, name in ((account, "waggle"), (system, "system"))}
        accounts[system.public] = operator.jwt(system, "system", {"limits": dict.fromkeys(UNLIMITED[:7], -1), "type": "account"})
        itself = operator.jwt(operator, "operator", {"type": "operator", "system_account": system.public})
        preload = "\n".join(f"  {name}: {jwt}" for name, jwt in accounts.items())
        configuration = f"operator: {itself}\nsystem_account: {system.public}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"
        jwt = account.jwt(user, "waggle", {"type": "user", "subs": -1, "data": -1, "payload": -1})
        return cls(
            configuration,
            f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n",
        )


@contextmanager
def secured(folder: Path, configuration: str) -> Iterator[int]:
    """Such a server with JetStream for the length of the block; its port."""
    folder.mkdir()
    port, log, file = free_port(), folder / "log", folder / "nats.conf"
    file.write_text(f'server_name: secured\nmax_payload: {users.MAX_PAYLOAD}\njetstream {{ store_dir: "{folder}/store" }}\n{configuration}')
    process = spawn([find_nats(), "-c", file, "-a", "127.0.0.1", "-p", str(port)], log=log)
    try:
        deadline = time.monotonic() + SECONDS
        while not _listens(port):
            assert process.poll() is None, last_lines(log)
            assert time.monotonic() < deadline, last_lines(log)
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
