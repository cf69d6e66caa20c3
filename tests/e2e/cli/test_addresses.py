"""Addresses of Postgres as providers hand them out: every command and service takes the same, or says which parameter it cannot use."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import msgspec
import pytest

from support.command_line import Called, called, waggle
from support.fleet import FleetSettings
from support.keys import add_admin_key
from support.processes import launch
from support.servers import NatsServer
from support.system import Services, System, client_of
from support.tls_postgres import SECRET, USER, TlsPostgres, tls_postgres
from waggle.store import postgres as store
from waggle.store.migrate import migrate

AWAY = "nats://127.0.0.1:1"
NAME = f"{quote(USER, safe='')}:{quote(SECRET, safe='')}"


@pytest.fixture(scope="module")
def server(session_folder: Path) -> Iterator[TlsPostgres]:
    """A Postgres with TLS, and a user whose name and password must be encoded."""
    with tls_postgres(session_folder / "tls") as made:
        asyncio.run(prepare(made.url))
        yield made


async def prepare(url: str) -> None:
    await migrate(url)
    await add_admin_key(url)
    connection = await asyncpg.connect(url)
    await connection.execute(f"""CREATE ROLE "{USER}" LOGIN SUPERUSER PASSWORD '{SECRET}'; CREATE ROLE with_certificate LOGIN SUPERUSER;
        CREATE ROLE plain LOGIN SUPERUSER PASSWORD 'word' """)
    await connection.close()


@pytest.fixture
def files(server: TlsPostgres, tmp_path: Path) -> Path:
    """A folder with root.crt, client.crt and client.key; other.crt is that of another authority."""
    (tmp_path / "root.crt").write_bytes(server.authority.cert_pem.bytes())
    client = server.authority.issue_cert("waggle.example", common_name="with_certificate")
    (tmp_path / "client.crt").write_bytes(b"".join(part.bytes() for part in client.cert_chain_pems))
    (tmp_path / "client.key").write_bytes(client.private_key_pem.bytes())
    (tmp_path / "other.key").write_bytes(server.authority.issue_cert("other").private_key_pem.bytes())
    (tmp_path / "not.crt").write_text("no certificate")
    return tmp_path


WORKING = {
    "as it was": "postgresql://{name}@localhost:{port}/waggle",
    "the other scheme": "postgres://{name}@localhost:{port}/waggle",
    "TLS as it comes": "postgresql://{name}@localhost:{port}/waggle?sslmode=prefer",
    "no TLS": "postgresql://{name}@localhost:{port}/waggle?sslmode=disable",
    "Neon's, without its channel binding": "postgresql://{name}@localhost:{port}/waggle?sslmode=require&channel_binding=prefer",
    "an authority": "postgresql://{name}@localhost:{port}/waggle?sslmode=verify-full&sslrootcert={files}/root.crt",
    "an authority, for any name": "postgresql://{name}@127.0.0.1:{port}/waggle?sslmode=verify-ca&sslrootcert={files}/root.crt",
    "a certificate of its own": "postgresql://with_certificate@localhost:{port}/waggle?sslmode=verify-full&sslrootcert={files}/root.crt"
    "&sslcert={files}/client.crt&sslkey={files}/client.key",
    "a version of TLS": "postgresql://{name}@localhost:{port}/waggle?sslmode=require&ssl_min_protocol_version=TLSv1.3&sslsni=1&sslcompression=0",
    "a name, a time": "postgresql://{name}@localhost:{port}/waggle?application_name=shop&connect_timeout=5",
    "settings of the server": "postgresql://{name}@localhost:{port}/waggle?options=-c%20statement_timeout%3D5000%20-c%20geqo%3Doff",
    "keep-alives": "postgresql://{name}@localhost:{port}/waggle?keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5&tcp_user_timeout=9000",
    "the one that takes writes": "postgresql://{name}@localhost:{port}/waggle?target_session_attrs=read-write&gssencmode=disable",
    "several": "postgresql://{name}@127.0.0.1:1,localhost:{port}/waggle?target_session_attrs=read-write&sslmode=require",
    "IPv6": "postgresql://{name}@[::1]:{port}/waggle",
    "a Unix socket": "postgresql://{name}@/waggle?host={sockets}&port={port}",
    "a Unix socket as the host": "postgresql://{name}@{socket}:{port}/waggle",
    "all in the parameters": "postgresql:///?host=localhost&port={port}&dbname=waggle&user={user}&password={password}",
    "an empty password, and its file": "postgresql://plain:@localhost:{port}/waggle?passfile={files}/passwords",
}


def written(url: str, server: TlsPostgres, files: Path) -> str:
    """An address of the tables."""
    passwords = files / "passwords"
    passwords.write_text("*:*:*:plain:word\n")
    passwords.chmod(0o600)
    user, password, socket = (quote(text, safe="") for text in (USER, SECRET, str(server.sockets)))
    return url.format(name=NAME, port=server.port, files=files, sockets=server.sockets, socket=socket, user=user, password=password)


Command = Callable[..., Called]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nats: NatsServer) -> Command:
    """Run a command in this process, in an empty folder, with this address and these variables."""
    monkeypatch.chdir(tmp_path)
    for variable in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(variable)

    def one(url: str, *arguments: str, **environ: str) -> Called:
        for name, value in {"WAGGLE_POSTGRES_URL": url, "WAGGLE_NATS_URL": nats.url, **environ}.items():
            monkeypatch.setenv(name, value)
        return called(capsys, *arguments)

    return one


@pytest.mark.parametrize("case", WORKING)
def test_what_providers_hand_out_works(case: str, server: TlsPostgres, files: Path, run: Command) -> None:
    url = written(WORKING[case], server, files)
    for arguments in (["migrate"], ["migrate", "--check"], ["migrate", "--sql"]):
        made = run(url, *arguments)
        assert made.code == 0, made
        assert "up to date" in made.out
    examined = run(url, "doctor")
    assert "✓  postgres " in examined.out, examined.out
    assert SECRET not in examined.out + examined.err
    assert quote(SECRET, safe="") not in examined.out + examined.err


REFUSED = {
    "postgresql://{name}@localhost:{port}/waggle?channel_binding=require": "channel_binding=require cannot be used",
    "postgresql://{name}@localhost:{port}/waggle?gssencmode=require": "gssencmode=require cannot be used",
    "postgresql://{name}@localhost:{port}/waggle?sslmode=yes": "sslmode=yes cannot be used: it is disable or allow",
    "postgresql://{name}@localhost:{port}/waggle?ssl_mode=require": "ssl_mode is not a parameter of Postgres' addresses; did you mean sslmode?",
    "postgresql://{name}@localhost:{port}/waggle?pgbouncer=true": "pgbouncer is not a parameter of Postgres' addresses, remove it",
    "postgresql://{name}@localhost:{port}/waggle?statement_timeout=5": "options=-c%20statement_timeout%3Dvalue",
    "postgresql://{name}@localhost:{port}/waggle?keepalives_idle=often": "keepalives_idle=often cannot be used",
    "postgresql://{name}@localhost:{port}/waggle?target_session_attrs=standby": "target_session_attrs=standby cannot be used",
    "postgresql://{name}@localhost:{port}/waggle?requirepeer=postgres": "the parameter requirepeer is not supported, remove it",
    "postgresql://{name}@localhost:{port}/waggle?sslmode=verify-full&sslrootcert={files}/none.crt": "none.crt cannot be read: No such file",
    "postgresql://{name}@localhost:{port}/waggle?sslmode=verify-full&sslrootcert={files}/not.crt": "sslrootcert cannot be used",
    "postgresql://{name}@localhost:{port}/waggle?sslmode=verify-full": "sslrootcert=system for those of this machine",
    "postgresql://{name}@localhost:{port}/waggle?sslmode=require&sslrootcert=system": "sslrootcert=system needs sslmode=verify-full",
    "postgresql://{name}@localhost:{port}/waggle?sslmode=require&sslcert={files}/client.crt&sslkey={files}/other.key": "sslcert, sslkey cannot be used",
    "postgresql://u:hunter2@ss@localhost:{port}/waggle": "write @ : / ? # % as %40",
    "postgresql://u:hunter2/x@localhost:{port}/waggle": "write @ : / ? # % as %40",
    "postgresql://u:12?hunter2&y=1@localhost:{port}/waggle": "write @ : / ? # % as %40",
}


@pytest.mark.parametrize("url", REFUSED)
def test_what_cannot_work_is_named(url: str, server: TlsPostgres, files: Path, run: Command) -> None:
    for arguments in (["migrate"], ["migrate", "--check"], ["doctor"], ["audit"]):
        refused = run(written(url, server, files), *arguments)
        assert (refused.code, refused.out) == (2, ""), (arguments, refused)
        assert REFUSED[url] in refused.err, (arguments, refused)
        assert not any(text in refused.err for text in ("Traceback", "hunter2", NAME, SECRET))


@pytest.mark.parametrize("service", ["api", "worker", "dlq", "scheduler"])
async def test_services_refuse_the_same(service: str, settings: FleetSettings, folder: Path) -> None:
    wrong = msgspec.structs.replace(settings, postgres_url=f"{settings.postgres_url}?channel_binding=require")
    process = launch(service, wrong, folder, environ={"WAGGLE_APP": "support.handlers:app"})
    assert await process.ended() == 2
    assert "WAGGLE_POSTGRES_URL: channel_binding=require cannot be used" in process.tail()


async def connected(url: str, tmp_path: Path, **environ: str) -> str:
    """What `waggle migrate --check` says in a process of its own."""
    run = await asyncio.to_thread(waggle, "migrate", "--check", place=tmp_path, WAGGLE_POSTGRES_URL=url, WAGGLE_NATS_URL=AWAY, **environ)
    return f"{run.returncode} {run.stdout}{run.stderr}"


async def test_the_variables_of_libpq_apply_where_the_address_says_nothing(server: TlsPostgres, files: Path) -> None:
    url = f"postgresql://{quote(USER, safe='')}:@/waggle"
    there = {"PGHOST": "localhost", "PGPORT": str(server.port), "PGPASSWORD": SECRET}
    assert (await connected(url, files, **there)).startswith("0 Postgres: the schema waggle is up to date")
    tls = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": f"{files}/root.crt"}
    assert (await connected(url, files, **there, **tls)).startswith("0 ")
    assert "127.0.0.1" in await connected(url, files, **{**there, **tls, "PGHOST": "127.0.0.1"}), "the certificate is for localhost"
    assert (await connected(f"{url}?sslmode=disable", files, **there, **tls)).startswith("0 ")
    assert "PGCHANNELBINDING=require cannot be used" in await connected(url, files, **there, PGCHANNELBINDING="require")
    assert "PGSSLMODE=maybe cannot be used" in await connected(url, files, **there, PGSSLMODE="maybe")
    assert "PGSSLROOTCERT" not in await connected(f"{url}?sslrootcert={files}/root.crt&sslmode=require", files, **there, PGSSLROOTCERT="/none")


async def test_who_does_not_trust_the_certificate_does_not_connect(server: TlsPostgres, files: Path) -> None:
    url = written("postgresql://{name}@127.0.0.1:{port}/waggle?sslmode=verify-full&sslrootcert={files}/root.crt", server, files)
    assert "certificate is not valid for '127.0.0.1'" in await connected(url, files)
    system = written("postgresql://{name}@localhost:{port}/waggle?sslrootcert=system", server, files)
    assert "certificate verify failed" in await connected(system, files)
    assert (await connected(system, files, SSL_CERT_FILE=f"{files}/root.crt")).startswith("0 ")


async def test_what_the_parameters_ask_for_happens(server: TlsPostgres, files: Path) -> None:
    asked = "application_name=shop&keepalives_idle=77&sslmode=require&options=-c%20statement_timeout%3D5%20-c%20geqo%3Doff"
    url = written("postgresql://{name}@localhost:{port}/waggle?" + asked, server, files)
    connection = await store.connect_once(FleetSettings(postgres_url=url, nats_url=AWAY), "test")
    try:
        row = await connection.fetchrow(
            "SELECT current_setting('application_name') AS name, current_setting('geqo') AS geqo, current_setting('statement_timeout') AS ours,"
            " (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS tls"
        )
        assert tuple(row) == ("waggle-test shop", "off", "9s", True)
        opened = connection._transport.get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    finally:
        await connection.close()


async def test_the_services_work_over_tls(server: TlsPostgres, files: Path, nats: NatsServer, start: Services) -> None:
    url = written("postgresql://{name}@localhost:{port}/waggle?sslmode=verify-full&sslrootcert={files}/root.crt&application_name=shop", server, files)
    start.settings = msgspec.structs.replace(start.settings, postgres_url=url)
    system = await System.start(start)
    async with client_of(system.api) as client:
        assert (await client.wait(await client.submit("demo.echo", {"over": "TLS"})))["result"] == {"over": "TLS"}
        assert 'waggle_certificate_expiry_timestamp_seconds{server="postgres"}' in (await client.get("/metrics")).text
    found = await asyncio.to_thread(waggle, "doctor", place=files, WAGGLE_POSTGRES_URL=url, WAGGLE_NATS_URL=nats.url)
    assert "connected to Postgres: scheduler, dlq, api" in found.stdout
    assert not any(SECRET in process.log.read_text() or NAME in process.log.read_text() for process in start.processes)
