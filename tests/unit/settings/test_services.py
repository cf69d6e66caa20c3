"""Each service reads its own settings from an environment that all may share, and reports all errors in it at once."""

from typing import Any

import msgspec
import pytest

from support.fleet import FleetSettings
from waggle.settings import environment
from waggle.settings.services import READERS, ApiSettings, DlqSettings, WorkerSettings, declared, readers
from waggle.settings.shared import Settings, SettingsError

NEEDED = {"WAGGLE_POSTGRES_URL": "postgresql://u:p@h/d", "WAGGLE_NATS_URL": "nats://h:4222"}


def read(environ: dict[str, str]) -> Any:
    """All settings of an environment."""
    return environment.read(FleetSettings, environ)


def findings(**variables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read({**NEEDED, **variables})
    return str(caught.value).splitlines()


def test_the_two_addresses_are_enough() -> None:
    settings = read(NEEDED)
    assert (settings.postgres_url, settings.nats_url) == ("postgresql://u:p@h/d", "nats://h:4222")
    assert settings.lease == 15.0
    assert settings.api_host == "127.0.0.1"


def test_a_missing_address_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        read({})
    assert str(caught.value).splitlines() == ["WAGGLE_POSTGRES_URL is missing", "WAGGLE_NATS_URL is missing"]


def test_other_variables_are_ignored() -> None:
    assert read({**NEEDED, "PATH": "/bin", "WAGGLER": "x"}) == read(NEEDED)


def test_an_unknown_variable_is_refused_and_a_near_one_named() -> None:
    assert findings(WAGGLE_CONCURENCY="5") == ["WAGGLE_CONCURENCY is not a setting; did you mean WAGGLE_CONCURRENCY?"]


def test_an_unknown_variable_without_a_near_name_is_refused() -> None:
    assert findings(WAGGLE_ZZZZZZ="5") == ["WAGGLE_ZZZZZZ is not a setting"]


def test_all_errors_come_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        read({"WAGGLE_NATS_URL": "nats://h", "WAGGLE_CONCURRENCY": "0", "WAGGLE_LEESE": "1", "WAGGLE_LOG_LEVEL": "loud"})
    text = str(caught.value)
    assert len(text.splitlines()) == 4
    for name in ("WAGGLE_POSTGRES_URL", "WAGGLE_CONCURRENCY", "WAGGLE_LEESE", "WAGGLE_LOG_LEVEL"):
        assert name in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("WAGGLE_CONCURRENCY", "0"),
        ("WAGGLE_CONCURRENCY", "many"),
        ("WAGGLE_CONCURRENCY", "1.5"),
        ("WAGGLE_API_PORT", "65536"),
        ("WAGGLE_FAILPOINT", "api.nowhere:1"),
        ("WAGGLE_FAILPOINT", "api.committed:0"),
        ("WAGGLE_API_PORT", "tcp://10.0.0.1:80"),  # what Kubernetes injects for a service of that name
        ("WAGGLE_LEASE", "0.5"),
        ("WAGGLE_LEASE", "nan"),
        ("WAGGLE_LEASE", "inf"),
        ("WAGGLE_GRACE", "-1"),
        ("WAGGLE_RETENTION", "0"),
        ("WAGGLE_RETENTION", "inf"),
        ("WAGGLE_LOG_FORMAT", "xml"),
        ("WAGGLE_APP", "shop.tasks"),
        ("WAGGLE_QUEUES", "mail,No Such"),
        ("WAGGLE_DLQ_MAX_SIZE", "-1"),
    ],
)
def test_a_value_out_of_range_is_refused_and_quoted(name: str, text: str) -> None:
    (finding,) = findings(**{name: text})
    assert finding.startswith(f"{name}={text!r}: ")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("WAGGLE_CONCURRENCY", "0", "expected a whole number from 1 to 10,000"),
        ("WAGGLE_DLQ_MAX_SIZE", "-1", "expected a whole number from 0"),
        ("WAGGLE_RETENTION", "0", "expected a number above 0, up to 3,153,600,000"),
        ("WAGGLE_RETENTION_FAILED", "", "expected a number above 0, up to 3,153,600,000"),
        ("WAGGLE_LOG_FORMAT", "xml", "expected one of `console`, `json`"),
        ("WAGGLE_APP", "shop", "expected module:attribute"),
        ("WAGGLE_QUEUES", "No Such", "expected list of names: lower-case letters, digits, _ and -, starting with a letter"),
    ],
)
def test_an_error_says_what_is_expected(name: str, text: str, message: str) -> None:
    assert findings(**{name: text}) == [f"{name}={text!r}: {message}"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("app/tasks.py:app", "app.tasks:app"),
        ("./app/tasks.py:app", "app.tasks:app"),
        ("app/tasks:queue.app", "app.tasks:queue.app"),
        ("app/tasks.py", "app.tasks:app"),
        (r"app\tasks.py:app", "app.tasks:app"),
    ],
)
def test_a_path_where_a_module_is_named_gets_the_module_as_a_hint(text: str, meant: str) -> None:
    assert findings(WAGGLE_APP=text) == [f"WAGGLE_APP={text!r}: expected module:attribute; did you mean {meant}?"]


@pytest.mark.parametrize("text", ["shop", "shop.tasks", "/srv/app/tasks.py:app", "app/my-tasks.py:app"])
def test_there_is_no_hint_where_the_module_cannot_be_known(text: str) -> None:
    assert findings(WAGGLE_APP=text) == [f"WAGGLE_APP={text!r}: expected module:attribute"]


def test_an_invalid_address_is_not_reported_as_missing_too() -> None:
    assert len(findings(WAGGLE_POSTGRES_URL="")) == 1


def test_lists_are_separated_by_commas() -> None:
    assert read({**NEEDED, "WAGGLE_QUEUES": "mail, default,"}).queues == ("mail", "default")


@pytest.mark.parametrize("kind", [Settings, *READERS.values()])
def test_every_service_starts_with_the_two_addresses_and_gets_its_own_struct(kind: type[Settings]) -> None:
    assert type(environment.read(kind, NEEDED)) is kind


def test_a_variable_of_another_service_is_known_but_not_handed_on() -> None:
    settings = environment.read(DlqSettings, {**NEEDED, "WAGGLE_CONCURRENCY": "5", "WAGGLE_API_PORT": "80", "WAGGLE_DLQ_MAX_SIZE": "7"})
    assert settings == DlqSettings(**{name.removeprefix("WAGGLE_").lower(): url for name, url in NEEDED.items()}, dlq_max_size=7)
    assert not hasattr(settings, "concurrency")


@pytest.mark.parametrize("kind", READERS.values())
def test_a_wrong_value_for_another_service_is_an_error_everywhere(kind: type[Settings]) -> None:
    with pytest.raises(SettingsError, match="WAGGLE_DLQ_MAX_SIZE='-1'"):
        environment.read(kind, {**NEEDED, "WAGGLE_DLQ_MAX_SIZE": "-1"})


def test_a_setting_of_several_services_is_the_same_in_each() -> None:
    for kind in READERS.values():
        for field in msgspec.structs.fields(kind):
            one = declared()[field.name]
            assert (field.type, field.default) == (one.type, one.default), (kind, field.name)


def test_every_setting_has_a_reader() -> None:
    assert [name for name in declared() if not readers(name)] == []
    assert readers("postgres_url") == list(READERS)
    assert readers("unknown_types") == ["api"]
    assert readers("lease") == ["worker", "scheduler", "command line"]


def test_services_do_not_get_the_settings_of_others() -> None:
    assert "concurrency" not in ApiSettings.__struct_fields__
    assert "api_port" not in WorkerSettings.__struct_fields__


def test_every_setting_is_described() -> None:
    schema = msgspec.json.schema(FleetSettings)["$defs"]["FleetSettings"]["properties"]
    assert [name for name, field in schema.items() if not field.get("description")] == []


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        read(NEEDED).lease = 1.0  # type: ignore[misc]
