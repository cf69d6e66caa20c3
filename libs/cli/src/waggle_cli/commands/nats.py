"""`waggle nats`: the configuration of a NATS server for Waggle."""

import secrets
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

EPILOGUE: Final = """\
Examples:
  waggle nats config > nats.conf && chmod 600 nats.conf
  waggle publishers nats > publishers.conf
  nats-server -c nats.conf
"""
CONFIG_EPILOGUE: Final = """\
Each call makes up new passwords. The first lines of the output name the
WAGGLE_NATS_URL of each service. For a cluster give the same file to each node,
with its server_name and a cluster block, and set WAGGLE_NATS_REPLICAS=3.
The server includes the file publishers.conf beside it: that of `waggle
publishers nats`, or an empty one.

Examples:
  waggle nats config > nats.conf && chmod 600 nats.conf
  waggle nats config --host nats.example.com --tls-cert /etc/nats/cert.pem --tls-key /etc/nats/key.pem
"""

app = App(name="nats", help="Configure a NATS server for Waggle.", help_epilogue=EPILOGUE)


@app.command(help_epilogue=CONFIG_EPILOGUE)
def config(
    *,
    host: str = "127.0.0.1",
    port: int = 4222,
    store_dir: Path = Path("/var/lib/nats"),
    max_file: Annotated[str, Parameter(help="Disk that JetStream may take, such as 16G.")] = "64G",
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> int:
    """Print a configuration with a user for each service, which may do what that service needs and nothing else, and one for the operator.

    Parameters
    ----------
    host
        The name under which services reach the server.
    port
        The port for clients.
    store_dir
        The folder of JetStream's data.
    tls_cert
        A PEM file with the server's certificate: clients must then use TLS.
    tls_key
        The PEM file with its private key.
    """
    import re

    from waggle.bus import users

    if (tls_cert is None) != (tls_key is None):
        print("waggle nats config: --tls-cert and --tls-key belong together", file=sys.stderr)
        return 2
    if not re.fullmatch(r"[1-9][0-9]*[KMGT]?", max_file):
        print(f"waggle nats config: --max-file {max_file} is no number of bytes, such as 16G", file=sys.stderr)
        return 2
    passwords = {user: secrets.token_urlsafe(24) for user in users.USERS}
    scheme = "tls" if tls_cert else "nats"
    addresses = "\n".join(f"#   {user:<10} WAGGLE_NATS_URL={scheme}://{user}:{password}@{host}:{port}" for user, password in passwords.items())
    quoted = {user: f'"{password}"' for user, password in passwords.items()}
    tls = f'tls {{\n  cert_file: "{tls_cert}"\n  key_file: "{tls_key}"\n}}\n' if tls_cert else ""
    print(f"""\
# For nats-server 2.12 or newer, made by `waggle nats config`. It holds passwords: let only the server's user read it.
# The operator is for waggle migrate, doctor and audit. The others are for the services:
{addresses}
server_name: waggle
port: {port}
max_payload: {users.MAX_PAYLOAD}
{tls}jetstream {{
  store_dir: "{store_dir}"
  max_file_store: {max_file}
}}
{users.account(quoted, max_file)}""")
    return 0
