"""Debian's Postgres with TLS, a Unix socket and IPv6: that of the wheel is built without TLS."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from support.servers import FAST
from waggle_embedded import postgres
from waggle_embedded.binaries import SYSTEM_POSTGRES, _runnable
from waggle_embedded.placement import server_account

USER, SECRET = "Sh@p", "p@ss:w/rd?#%+"
HBA = """
hostssl all     with_certificate all     cert
local   all     all                      scram-sha-256
host    all     all              all     scram-sha-256
"""


@dataclass(frozen=True)
class TlsPostgres:
    """A running one; `authority` signed its certificate, `sockets` is the folder of its Unix socket."""

    url: str
    port: int
    sockets: Path
    authority: trustme.CA


@contextmanager
def tls_postgres(folder: Path) -> Iterator[TlsPostgres]:
    """One for the length of the block, in a new folder. Its certificate is for localhost; its database waggle is empty."""
    folder.mkdir(mode=0o711)
    data, account = folder / "cluster", server_account(folder / "none yet")
    found = [binaries for path in SYSTEM_POSTGRES.glob("*/bin") if (binaries := _runnable(path, account))]
    assert found, "a Postgres with TLS is missing: install the Debian package postgresql"
    postgres._make_cluster(data, found[0], account)
    authority = trustme.CA()
    served = authority.issue_cert("localhost")
    files = {
        "pg_hba.conf": HBA.encode(),
        "server.crt": b"".join(part.bytes() for part in served.cert_chain_pems),
        "server.key": served.private_key_pem.bytes(),
        "root.crt": authority.cert_pem.bytes(),
    }
    for name, content in files.items():
        (data / name).write_bytes(content)
        (data / name).chmod(0o600)
        if account:
            os.chown(data / name, account.uid, account.gid)
    sockets = folder / "sockets"
    sockets.mkdir()
    if account:
        os.chown(sockets, account.uid, account.gid)
    extra = {"ssl": "on", "ssl_ca_file": "root.crt", "unix_socket_directories": str(sockets), "listen_addresses": "localhost,127.0.0.1,::1"}
    server = postgres.start(folder, extra={**FAST, **extra})
    try:
        yield TlsPostgres(server.url, server.port, sockets, authority)
    finally:
        server.kill()
