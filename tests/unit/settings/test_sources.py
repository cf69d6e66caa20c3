"""Where settings come from: a variable, the file of a secret, the TOML file, the default; and what the errors say. No error shows a secret."""

from pathlib import Path

import pytest

from support.fleet import FleetSettings
from waggle.settings import environment
from waggle.settings.environment import gather
from waggle.settings.shared import SettingsError
from waggle.settings.sources import Source, masked

NEEDED = {"WAGGLE_POSTGRES_URL": "postgresql://u:p@h/d", "WAGGLE_NATS_URL": "nats://h:4222"}


def read(environ: dict[str, str], otherwise: dict[str, str] | None = None) -> FleetSettings:
    """All settings of an environment."""
    return environment.read(FleetSettings, environ, otherwise)


def toml(folder: Path, text: str) -> dict[str, str]:
    """The required variables, and a TOML file with this content."""
    path = folder / "waggle.toml"
    path.write_text(text)
    return {**NEEDED, "WAGGLE_CONFIG": str(path)}


def findings(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(environ)
    return str(caught.value).splitlines()


def test_the_toml_file_sets_settings_by_name_with_toml_types(tmp_path: Path) -> None:
    settings = read(toml(tmp_path, 'lease = 20\nconcurrency = 7\nqueues = ["default", "mail"]\nlog_level = "debug"\n'))
    assert (settings.lease, settings.concurrency, settings.queues, settings.log_level) == (20.0, 7, ("default", "mail"), "debug")


def test_the_toml_file_may_hold_the_addresses(tmp_path: Path) -> None:
    environ = toml(tmp_path, 'postgres_url = "postgresql://a:b@c/d"\nnats_url = "nats://e"\n')
    assert read({"WAGGLE_CONFIG": environ["WAGGLE_CONFIG"]}).postgres_url == "postgresql://a:b@c/d"


def test_a_variable_overrides_the_toml_file(tmp_path: Path) -> None:
    environ = {**toml(tmp_path, "lease = 20\ngrace = 3\n"), "WAGGLE_LEASE": "30"}
    assert (read(environ).lease, read(environ).grace) == (30.0, 3.0)


def test_a_value_of_the_toml_file_must_be_valid_even_where_a_variable_overrides_it(tmp_path: Path) -> None:
    (finding,) = findings({**toml(tmp_path, "lease = 0\n"), "WAGGLE_LEASE": "30"})
    assert "lease = 0: " in finding


def test_a_file_is_read_only_when_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, "lease = 20\n")
    monkeypatch.chdir(tmp_path)
    assert read(NEEDED) == read({**NEEDED, "WAGGLE_CONFIG": ""}) == FleetSettings(postgres_url="postgresql://u:p@h/d", nats_url="nats://h:4222")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leese = 20", "leese is not a setting; did you mean lease?"),
        ("WAGGLE_LEASE = 20", "WAGGLE_LEASE is not a setting; did you mean lease?"),
        ("zzz = 1", "zzz is not a setting"),
        ("[api]\nport = 1", "api is not a setting; tables are not supported, put every key at the top level; did you mean api_port?"),
        ('nats_url_file = "/x"', "nats_url_file is not a setting; the variable WAGGLE_NATS_URL_FILE names the file of a secret"),
        ('concurrency = "7"', "concurrency = '7': expected a whole number from 1 to 10,000"),
        ("concurrency = true", "concurrency = True: expected a whole number from 1 to 10,000"),
        ("lease = nan", "lease = nan: "),
        ('queues = "default,mail"', "queues = 'default,mail': expected list of names: "),
        ("lease = ", "is not TOML: "),
    ],
)
def test_an_error_in_the_toml_file_names_the_file(text: str, message: str, tmp_path: Path) -> None:
    (finding,) = findings(toml(tmp_path, text))
    assert finding.startswith(str(tmp_path / "waggle.toml"))
    assert message in finding


def test_errors_of_the_file_and_of_variables_come_together(tmp_path: Path) -> None:
    environ = {**toml(tmp_path, "leese = 1\ngrace = -1\n"), "WAGGLE_LEASE": "0"}
    del environ["WAGGLE_NATS_URL"]
    assert [name for name in ("leese", "grace", "WAGGLE_LEASE", "WAGGLE_NATS_URL is missing") if name in "\n".join(findings(environ))] == [
        "leese",
        "grace",
        "WAGGLE_LEASE",
        "WAGGLE_NATS_URL is missing",
    ]
    assert len(findings(environ)) == 4


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_may_come_from_its_own_file(end: str, tmp_path: Path) -> None:
    path = tmp_path / "postgres_url"
    path.write_bytes(b"postgresql://u:from-a-file@h/d" + end.encode())
    environ = {"WAGGLE_POSTGRES_URL_FILE": str(path), "WAGGLE_NATS_URL": "nats://h"}
    assert read(environ).postgres_url == "postgresql://u:from-a-file@h/d"
    assert gather(environ).source("postgres_url") == Source("secret file", str(path))


def test_the_file_of_a_secret_overrides_the_toml_file(tmp_path: Path) -> None:
    path = tmp_path / "nats_url"
    path.write_text("nats://from-a-file")
    environ = {**toml(tmp_path, 'nats_url = "nats://from-toml"\n'), "WAGGLE_NATS_URL_FILE": str(path)}
    del environ["WAGGLE_NATS_URL"]
    assert read(environ).nats_url == "nats://from-a-file"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"postgresql://u:p@h/d\nhunter2\n", "has more than one line"),
        (b"x" * 1_048_577, "bytes"),
    ],
)
def test_an_unusable_file_of_a_secret_is_an_error(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    (finding,) = findings({"WAGGLE_POSTGRES_URL_FILE": str(path), "WAGGLE_NATS_URL": "nats://h"})
    assert finding.startswith(f"WAGGLE_POSTGRES_URL_FILE={str(path)!r}: the file ")
    assert message in finding


def test_a_secret_and_its_file_cannot_both_be_set(tmp_path: Path) -> None:
    assert findings({**NEEDED, "WAGGLE_NATS_URL_FILE": str(tmp_path)}) == ["WAGGLE_NATS_URL and WAGGLE_NATS_URL_FILE are both set; remove one of them"]


def test_only_secrets_can_come_from_files() -> None:
    (finding,) = findings({**NEEDED, "WAGGLE_APP_FILE": "/x"})
    assert finding.startswith("WAGGLE_APP_FILE is not a setting; only secrets can come from files: WAGGLE_POSTGRES_URL_FILE, WAGGLE_NATS_URL_FILE")


def test_a_missing_toml_file_is_an_error() -> None:
    assert findings({**NEEDED, "WAGGLE_CONFIG": "/nowhere/waggle.toml"}) == [
        "WAGGLE_CONFIG='/nowhere/waggle.toml': the file cannot be read: No such file or directory"
    ]


@pytest.mark.parametrize("where", ["variable", "toml"])
def test_an_invalid_secret_is_not_shown(where: str, tmp_path: Path) -> None:
    environ = {**NEEDED, "WAGGLE_POSTGRES_URL": ""} if where == "variable" else {**toml(tmp_path, "nats_url = [1234321]\n")}
    assert "1234321" not in "".join(findings(environ))
    assert len(findings(environ)) == 1


@pytest.mark.parametrize("given", ["WAGGLE_NATS_URL_FILE", "WAGGLE_CONFIG"])
def test_a_secret_in_place_of_its_path_is_not_shown(given: str) -> None:
    reading = gather({"WAGGLE_POSTGRES_URL": "postgresql://u:p@h/d", given: "nats://anna:hunter2@h:4222"})
    assert reading.findings[0].startswith(f"{given}='nats://anna:***@h:4222': the file cannot be read")
    assert "hunter2" not in str(reading)


def test_a_secret_must_not_be_empty() -> None:
    assert findings({**NEEDED, "WAGGLE_POSTGRES_URL": ""}) == ["WAGGLE_POSTGRES_URL: must not be empty"]


def test_the_caller_can_supply_what_is_not_set(tmp_path: Path) -> None:
    environ = toml(tmp_path, 'nats_url = "nats://from-toml"\n')
    del environ["WAGGLE_NATS_URL"]
    del environ["WAGGLE_POSTGRES_URL"]
    settings = read(environ, otherwise={"postgres_url": "ours", "nats_url": "ours"})
    assert (settings.postgres_url, settings.nats_url) == ("ours", "nats://from-toml")


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("postgresql://u:hunter2@h:1/d", "postgresql://u:***@h:1/d"),
        ("postgresql://u:hunter2@h1:1,h2:2/d", "postgresql://u:***@h1:1,h2:2/d"),
        ("postgresql://u:hun/t?e#r@2@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d?password=hunter2&sslmode=require", "postgresql://u@h/d?password=***&sslmode=require"),
        ("postgresql://u@h/d?options=-c%20app.key%3Dhunter2", "postgresql://u@h/d?options=***"),
        ("nats://hunter2@h:4222", "nats://***@h:4222"),
        ("nats://a:4222,nats://u:hun,ter2@b:4222", "nats://a:4222,nats://u:***@b:4222"),
        ("nats://[::1]:4222", "nats://[::1]:4222"),
        ("postgresql://u:hunter2", "***"),
        ("u:hunter2@h", "***"),
        ("hunter2", "***"),
        ("", "***"),
    ],
)
def test_a_secret_is_shown_without_its_password(secret: str, shown: str) -> None:
    assert masked(secret) == shown
