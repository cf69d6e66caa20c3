"""How services and commands sign in to NATS: users, tokens, nkeys, files of credentials, TLS; secrets are shown nowhere."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trustme

from support.command_line import called
from support.facts import until
from support.fleet import FleetSettings
from support.nats_secured import Nkey, Operator, secured
from support.processes import launch, variables
from support.system import Services, System, client_of
from waggle.bus import connection
from waggle.bus.access import access
from waggle.settings.shared import SettingsError

AUTHORITY = trustme.CA()
NKEY, OPERATOR = Nkey.made(), Operator.made()
USER, PASSWORD, TOKEN = "us@r", "p@ss:w/rd?#%+", "t@ken/+%"  # what must be encoded in an address
SECRETS = (PASSWORD, "p%40ss", TOKEN, "t%40ken", NKEY.seed, OPERATOR.credentials.splitlines()[1], OPERATOR.credentials.splitlines()[-2])


def files(folder: Path) -> dict[str, str]:
    """The certificates of a server and of a client, and a file of credentials; their paths by name."""
    served, shown = AUTHORITY.issue_cert("localhost"), AUTHORITY.issue_cert("waggle.example")
    texts = {"ca": AUTHORITY.cert_pem.bytes(), "creds": OPERATOR.credentials.encode()}
    for name, made in (("served", served), ("shown", shown)):
        texts[f"{name}_cert"] = b"".join(part.bytes() for part in made.cert_chain_pems)
        texts[f"{name}_key"] = made.private_key_pem.bytes()
    for name, text in texts.items():
        (folder / name).write_bytes(text)
    return {name: str(folder / name) for name in texts}


class Way(NamedTuple):
    """How to get in: what the server wants, the address, and further settings; {…} are paths of `files`."""

    server: str
    url: str
    settings: dict[str, str]


TLS = 'tls {{ cert_file: "{served_cert}", key_file: "{served_key}", ca_file: "{ca}", verify: %s }}\n'
WAYS = {
    "a password": Way(f'authorization {{{{ user: "{USER}", password: "{PASSWORD}" }}}}', "nats://us%40r:p%40ss%3Aw%2Frd%3F%23%25%2B@localhost:{port}", {}),
    "a token": Way(f'authorization {{{{ token: "{TOKEN}" }}}}', "nats://t%40ken%2F%2B%25@localhost:{port}", {}),
    "an nkey": Way(f"authorization {{{{ users: [ {{{{ nkey: {NKEY.public} }}}} ] }}}}", "nats://localhost:{port}", {"nats_nkey": NKEY.seed}),
    "credentials": Way(OPERATOR.configuration.replace("{", "{{").replace("}", "}}"), "nats://localhost:{port}", {"nats_creds": "{creds}"}),
    "TLS of an authority": Way(TLS % "false", "tls://localhost:{port}", {"nats_tls_ca": "{ca}"}),
    "a certificate": Way(TLS % "true", "nats://localhost:{port}", {"nats_tls_ca": "{ca}", "nats_tls_cert": "{shown_cert}", "nats_tls_key": "{shown_key}"}),
    "credentials over TLS": Way(
        TLS % "false" + OPERATOR.configuration.replace("{", "{{").replace("}", "}}"), "tls://localhost:{port}", {"nats_tls_ca": "{ca}", "nats_creds": "{creds}"}
    ),
}


@contextmanager
def entered(way: Way, folder: Path, database: str) -> Iterator[FleetSettings]:
    """The settings for a server that wants this."""
    paths = files(folder)
    with secured(folder / "secured", way.server.format(**paths)) as port:
        more: dict[str, Any] = {name: value.format(**paths) for name, value in way.settings.items()}
        yield FleetSettings(postgres_url=database, nats_url=way.url.format(port=port), api_port=0, lease=2.0, grace=2.0, **more)


@pytest.mark.parametrize("name", WAYS)
async def test_each_way_in_is_taken_by_services_and_commands(
    name: str, database: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with entered(WAYS[name], folder, database) as settings:
        async with connection.connection(settings, "test") as bus:
            await until(lambda: bus.connected)
        monkeypatch.chdir(folder)
        for variable, value in variables(settings).items():
            monkeypatch.setenv(variable, value)
        said = []
        for command, expected in (("migrate", "NATS: created WAGGLE_WORK"), ("doctor", "✓  nats "), ("audit", "")):
            run = await asyncio.to_thread(called, capsys, command)
            assert expected in run.out, run
            said.append(run.out + run.err)
        assert not any(secret in text for secret in SECRETS for text in said)


async def test_the_whole_system_works_with_credentials_over_tls(database: str, folder: Path, start: Services) -> None:
    with entered(WAYS["credentials over TLS"], folder, database) as settings:
        start.settings = settings
        system = await System.start(start)
        async with client_of(system.api) as client:
            assert (await client.wait(await client.submit("demo.echo", {"over": "TLS"})))["result"] == {"over": "TLS"}
            assert 'waggle_certificate_expiry_timestamp_seconds{server="nats"}' in (await client.get("/metrics")).text
        logs = [process.log.read_text() for process in start.processes]
        assert not any(secret in text for secret in SECRETS for text in logs)
        for process in start.processes:
            assert await process.stop() == 0


async def test_who_is_not_let_in_waits_and_shows_no_secret(database: str, folder: Path) -> None:
    way = WAYS["a password"]
    with entered(way._replace(url=way.url.replace("us%40r", "other")), folder, database) as settings:
        process = launch("worker", settings, folder, environ={"WAGGLE_APP": "support.handlers:app"})
        await until(lambda: process.logged("waiting for NATS", error="nats: 'Authorization Violation'"), 20.0)
        assert not any(secret in process.log.read_text() for secret in SECRETS)
        assert await process.stop() == 0


async def test_nobody_signs_in_without_tls_where_the_settings_ask_for_it(database: str, folder: Path) -> None:
    """nats-py would send the password in the clear."""
    plain = WAYS["a password"]
    for url, more in ((plain.url.replace("nats://", "tls://"), {}), (plain.url, {"nats_tls_ca": "{ca}"})):
        place = folder / str(len(more))
        place.mkdir()
        with entered(Way(plain.server, url, more), place, database) as settings:
            process = launch("worker", settings, place, environ={"WAGGLE_APP": "support.handlers:app"})
            await until(lambda process=process: process.logged("waiting for NATS", error="the server offers no TLS, and the settings ask for it"), 20.0)
            assert await process.stop() == 0


async def test_a_server_of_another_authority_is_not_trusted(database: str, folder: Path) -> None:
    with entered(WAYS["TLS of an authority"]._replace(settings={}), folder, database) as settings:
        process = launch("worker", settings, folder, environ={"WAGGLE_APP": "support.handlers:app"})
        await until(lambda: [line for line in process.logged("waiting for NATS") if "certificate verify failed" in line["error"]], 20.0)
        assert await process.stop() == 0


WRONG: dict[str, tuple[dict[str, str], str]] = {
    "two ways": ({"nats_url": "nats://u:hunter2@h", "nats_creds": "{creds}"}, "WAGGLE_NATS_URL has a user and WAGGLE_NATS_CREDS: there are several ways"),
    "several users": ({"nats_url": "nats://u:hunter2@h1,nats://v:hunter2@h2"}, "WAGGLE_NATS_URL has several users"),
    "an open @": ({"nats_url": "nats://u:hunter2/x@h"}, "write @ : / ? # % as %40"),
    "no file": ({"nats_creds": "/none/here"}, "WAGGLE_NATS_CREDS=/none/here cannot be read: No such file or directory"),
    "another file": ({"nats_creds": "{ca}"}, "it is no file of credentials"),
    "no seed": ({"nats_nkey": "SUhunter2"}, "WAGGLE_NATS_NKEY must be the seed"),
    "the seed of an account": ({"nats_nkey": Nkey.made(0).seed}, "WAGGLE_NATS_NKEY must be the seed"),
    "a certificate without its key": ({"nats_tls_cert": "{shown_cert}"}, "WAGGLE_NATS_TLS_CERT and WAGGLE_NATS_TLS_KEY belong together"),
    "the key of another": ({"nats_tls_cert": "{shown_cert}", "nats_tls_key": "{served_key}"}, "cannot be used: [X509: KEY_VALUES_MISMATCH]"),
    "no authority": ({"nats_tls_ca": "{creds}"}, "WAGGLE_NATS_TLS_CA="),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_work_is_refused_at_the_start(case: str, folder: Path) -> None:
    given, said = WRONG[case]
    paths = files(folder)
    settings = FleetSettings(**{"postgres_url": "unused", "nats_url": "nats://h", **{name: value.format(**paths) for name, value in given.items()}})
    with pytest.raises(SettingsError) as raised:
        access(settings)
    assert said in str(raised.value)
    assert not any(secret in str(raised.value) for secret in ("hunter2", *SECRETS, given.get("nats_nkey", "hunter2")))


async def test_a_service_ends_with_code_2_for_it(settings: FleetSettings, folder: Path) -> None:
    process = launch("dlq", msgspec.structs.replace(settings, nats_url="nats://h:1", nats_creds="/none/here"), folder)
    assert await process.ended() == 2
    assert "WAGGLE_NATS_CREDS=/none/here cannot be read" in process.tail()


@pytest.mark.parametrize(
    ("url", "servers", "options"),
    [
        ("nats://127.0.0.1:1", ["nats://127.0.0.1:1"], {}),
        ("127.0.0.1:1", ["nats://127.0.0.1:1"], {}),
        ("nats://user:secret@h1.example:4222, nats://h2.example", ["nats://h1.example:4222", "nats://h2.example"], {"user": "user", "password": "secret"}),
        ("nats://u%40:p%3A@h1,nats://u%40:p%3A@h2", ["nats://h1", "nats://h2"], {"user": "u@", "password": "p:"}),
        ("nats://t%2Fo@h", ["nats://h"], {"token": "t/o"}),
        ("tls://[::1]:4222", ["tls://[::1]:4222"], {}),
    ],
)
def test_usual_addresses_are_taken(url: str, servers: list[str], options: dict[str, str]) -> None:
    found = access(FleetSettings(postgres_url="unused", nats_url=url))
    assert (found.servers, found.options, found.tls) == (servers, options, url.startswith("tls"))
