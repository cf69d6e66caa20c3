"""`waggle config`: each setting, its value and where it came from; and a `waggle up` that is set by a TOML file and a secret's file."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from support.command_line import Called, called, up
from support.servers import PostgresServer
from support.system import bearer
from waggle_cli.views.settings_page import page

Config = Callable[..., Called]
SECRET = "postgresql://u:hunter2@h/d"


@pytest.fixture
def config(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Config:
    """Run `waggle config ARGUMENTS` in this process, with these variables."""

    def run(*arguments: str, **environ: str) -> Called:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return called(capsys, "config", *arguments)

    return run


def toml(folder: Path, text: str) -> str:
    path = folder / "waggle.toml"
    path.write_text(text)
    return str(path)


def test_the_password_of_the_apis_address_is_not_shown(config: Config) -> None:
    assert "hunter2" not in config("show", WAGGLE_URL="http://anna:hunter2@h").out
    assert "http://anna:***@h" in config("show", WAGGLE_URL="http://anna:hunter2@h").out


def test_each_setting_is_shown_with_its_value_and_its_source(config: Config, tmp_path: Path) -> None:
    file, secret = toml(tmp_path, 'lease = 20\nqueues = ["a", "b"]\n'), tmp_path / "secret"
    secret.write_text(SECRET)
    run = config("show", "-o", "json", WAGGLE_CONFIG=file, WAGGLE_POSTGRES_URL_FILE=str(secret), WAGGLE_NATS_URL="nats://h", WAGGLE_CONCURRENCY="7")
    assert (run.code, run.err) == (0, "")
    items = {item.pop("name"): item for item in json.loads(run.out)["items"]}
    assert items["lease"] == {"variable": "WAGGLE_LEASE", "value": 20.0, "source": "file", "where": f"{file}: lease"}
    assert items["queues"] == {"variable": "WAGGLE_QUEUES", "value": ["a", "b"], "source": "file", "where": f"{file}: queues"}
    assert items["concurrency"] == {"variable": "WAGGLE_CONCURRENCY", "value": 7, "source": "environment", "where": "WAGGLE_CONCURRENCY"}
    assert items["postgres_url"] == {
        "variable": "WAGGLE_POSTGRES_URL",
        "value": "postgresql://u:***@h/d",
        "source": "secret file",
        "where": str(secret),
    }
    assert items["grace"] == {"variable": "WAGGLE_GRACE", "value": 25.0, "source": "default"}


def test_people_get_a_table_without_the_password(config: Config, tmp_path: Path) -> None:
    run = config("show", WAGGLE_CONFIG=toml(tmp_path, "lease = 20\n"), WAGGLE_POSTGRES_URL=SECRET, WAGGLE_NATS_URL="nats://sesame@h")
    assert run.code == 0
    rows = {line.split()[0]: line.split()[1:] for line in run.out.splitlines()}
    assert rows["SETTING"] == ["VALUE", "FROM"]
    assert rows["lease"] == ["20", f"{tmp_path}/waggle.toml:", "lease"]
    assert rows["postgres_url"] == ["postgresql://u:***@h/d", "WAGGLE_POSTGRES_URL"]
    assert rows["nats_url"] == ["nats://***@h", "WAGGLE_NATS_URL"]
    assert rows["ready_file"] == ["-", "default"]
    assert "hunter2" not in run.out
    assert "sesame" not in run.out


def test_errors_are_those_of_the_services_and_the_rest_is_shown(config: Config, tmp_path: Path) -> None:
    run = config("show", WAGGLE_CONFIG=toml(tmp_path, "leese = 20\n"), WAGGLE_POSTGRES_URL=SECRET, WAGGLE_GRACE="soon")
    assert run.code == 2
    assert run.err.splitlines() == [
        "waggle config show: invalid settings",
        "WAGGLE_GRACE='soon': expected a number from 0 to 86,400",
        f"{tmp_path}/waggle.toml: leese is not a setting; did you mean lease?",
        "WAGGLE_NATS_URL is missing",
    ]
    rows = {line.split()[0]: line.split()[1:] for line in run.out.splitlines()}
    assert (rows["grace"], rows["nats_url"], rows["lease"]) == (["?", "WAGGLE_GRACE"], ["?", "missing"], ["15", "default"])
    as_json = json.loads(config("show", "-o", "json").out)
    assert as_json["findings"] == run.err.splitlines()[1:]
    assert [item for item in as_json["items"] if "value" not in item] == [
        {"name": "nats_url", "variable": "WAGGLE_NATS_URL", "source": "missing"},
        {"name": "grace", "variable": "WAGGLE_GRACE", "source": "environment", "where": "WAGGLE_GRACE"},
    ]


def test_the_reference_is_printed(config: Config) -> None:
    run = config("docs")
    assert (run.code, run.out, run.err) == (0, page(), "")


def test_a_command_asks_the_api_that_the_toml_file_names(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = toml(tmp_path, 'url = "http://127.0.0.1:1"\n')
    monkeypatch.setenv("WAGGLE_CONFIG", file)
    away = called(capsys, "tasks", "list")
    assert (away.code, away.err.startswith(f"waggle tasks list: http://127.0.0.1:1 (from {file}) does not answer")) == (4, True)
    toml(tmp_path, 'ur = "http://127.0.0.1:1"\n')
    wrong = called(capsys, "tasks", "list")
    assert (wrong.code, wrong.err) == (2, f"waggle tasks list: {file}: ur is not a setting; did you mean url?\n")


def test_up_and_its_services_are_set_by_the_toml_file_and_by_the_file_of_a_secret(postgres: PostgresServer, folder: Path) -> None:
    file, secret = toml(folder, "concurrency = 7\nprocesses = 1\n"), folder / "postgres_url"
    with postgres.fresh_database() as url:
        secret.write_text(f"{url}\n")
        with up("--ephemeral", place=folder, output=folder / "up.txt", WAGGLE_CONFIG=file, WAGGLE_POSTGRES_URL_FILE=str(secret)) as facts:
            assert facts["postgres_url"] == url
            assert "postgres" not in facts["pids"]
            (worker,) = httpx2.get(f"{facts['api_url']}/api/workers", headers=bearer(facts["api_key"]), trust_env=False).json()["items"]
            assert worker["concurrency"] == 7


def test_up_refuses_a_toml_file_with_nonsense_before_it_starts_anything(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAGGLE_CONFIG", toml(tmp_path, "concurency = 7\n"))
    run = called(capsys, "up", "--port", "0")
    assert run.code == 2
    assert "concurency is not a setting; did you mean concurrency?" in run.out
    assert list(tmp_path.iterdir()) == [tmp_path / "waggle.toml"]
