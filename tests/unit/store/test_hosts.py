"""The address of Postgres: what libpq takes for several servers is taken, what cannot work is refused by the name of its parameter."""

import pytest

from waggle.settings.shared import SettingsError
from waggle.store.hosts import HOST_SECONDS, read_address

Q = "?sslmode=disable"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40@h1:5432/db",
        "postgresql://u@h/db?host=other&sslmode=require",
        "postgresql:///db?host=%2Frun%2Fpostgresql",
        "postgresql://u@/db",
        "postgres://u@[::1]:5433/db",
    ],
)
def test_with_one_server_the_address_stays_as_it_was_written(url: str) -> None:
    address = read_address(url, environ={})
    assert ([host.url for host in address.hosts], address.primary, address.seconds) == ([url], False, None)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://u:p@h1:5432,h2:5433/db", ["u:p@h1:5432", "u:p@h2:5433"]),
        ("postgresql://u:p@h1,h2:5433/db", ["u:p@h1:5432", "u:p@h2:5433"]),
        ("postgresql://u:p%2C%40@h1,h2/db", ["u:p%2C%40@h1:5432", "u:p%2C%40@h2:5432"]),
        ("postgresql://[::1]:1,[fe80::1%eth0],h/db", ["[::1]:1", "[fe80::1%eth0]:5432", "h:5432"]),
        ("postgresql://u@%2Frun%2Fpg,h/db", ["u@%2Frun%2Fpg:5432", "u@h:5432"]),
        ("postgresql://u@/db?host=h1,h2&port=1,2", ["u@h1:1", "u@h2:2"]),
        ("postgresql://u@/db?host=h1,h2&port=1", ["u@h1:1", "u@h2:1"]),
        ("postgresql:///db?host=h1,/run/pg", ["h1:5432", "%2Frun%2Fpg:5432"]),
    ],
)
def test_several_servers_in_each_form_of_libpq(url: str, hosts: list[str]) -> None:
    address = read_address(url + ("&" if "?" in url else "?") + "sslmode=disable&target_session_attrs=read-write", environ={})
    assert [host.url for host in address.hosts] == [f"postgresql://{host}/db{Q}" for host in hosts]
    assert (address.primary, address.seconds) == (True, HOST_SECONDS)
    assert not any("u:p" in host.name or "@" in host.name for host in address.hosts)


def test_several_servers_come_from_the_environment_too() -> None:
    address = read_address("postgresql://u@/db", environ={"PGHOST": "h1,h2", "PGPORT": "1,2"})
    assert [host.name for host in address.hosts] == ["h1:1", "h2:2"]


@pytest.mark.parametrize(("target", "primary"), [("any", False), ("read-write", True), ("primary", True)])
def test_the_target_of_one_server(target: str, primary: bool) -> None:
    address = read_address(f"postgresql://u@h/db{Q}&target_session_attrs={target}", environ={})
    assert address[:3] == ((((f"postgresql://u@h/db{Q}", "h")),), primary, None)


@pytest.mark.parametrize("target", ["", "any", "read-write", "primary"])
def test_of_several_servers_one_must_be_the_primary(target: str) -> None:
    assert read_address("postgresql://h1,h2/db" + (f"?target_session_attrs={target}" if target else ""), environ={}).primary


def test_a_time_out_of_ones_own_and_a_random_order() -> None:
    orders = {tuple(host.name for host in read_address("postgresql://h1,h2/db?load_balance_hosts=random", environ={}).hosts) for _ in range(60)}
    assert len(orders) == 2
    assert read_address("postgresql://h1,h2/db?connect_timeout=7&load_balance_hosts=disable", environ={}).seconds == 7
    assert read_address("postgresql://h1/db?connect_timeout=0", environ={}).seconds is None
    assert read_address("postgresql://h1/db?connect_timeout=7", environ={})[:3] == ((("postgresql://h1/db", "h1"),), False, 7)


WRONG = {
    "postgresql://u:secret@h1,h2/db?target_session_attrs=standby": "target_session_attrs=standby",
    "postgresql://u:secret@h1/db?target_session_attrs=read-only": "target_session_attrs=read-only",
    "postgresql://u:secret@h1,h2/db?target_session_attrs=prefer-standby": "target_session_attrs=prefer-standby",
    "postgresql://u:secret@h1,h2/db?target_session_attrs=Primary": "target_session_attrs=Primary",
    "postgresql://u:secret@h1,h2/db?load_balance_hosts=yes": "load_balance_hosts=yes",
    "postgresql://u:secret@h1,h2/db?connect_timeout=61": "connect_timeout=61",
    "postgresql://u:secret@h1,h2/db?connect_timeout=2.5": "connect_timeout=2.5",
    "postgresql://u:secret@h1,h2/db?hostaddr=10.0.0.1,10.0.0.2": "hostaddr",
    "postgresql://u:secret@h1/db?keepalives_idle=x": "keepalives_idle=x",
    "postgresql://u:secret@h1/db?keepalives_idle=86400": "keepalives_idle=86400 cannot be used: it is a whole number up to 32767",
    "postgresql://u:secret@h1/db?keepalives_count=200": "keepalives_count=200 cannot be used: it is a whole number up to 127",
    "postgresql://u:secret@h1/db?hostadr=10.0.0.1": "hostadr is not a parameter",
    "postgresql://u:se@cret@h1/db": "must be postgresql://",
    "postgresql://u:secret@/db?host=h1,h2&port=1,2,3": "port has 3 values for 2 hosts",
    "postgresql://u:secret@h1,,h2/db": "host1:5432,host2:5432",
    "postgresql://u:secret@h1:0,h2/db": "host1:5432,host2:5432",
    "postgresql://u:secret@h1:five,h2/db": "host1:5432,host2:5432",
    "postgresql://u:sec@secret@h1,h2/db": "host1:5432,host2:5432",
    "postgresql://u:secret@h1:65536/db": "must be postgresql://",
    "postgresql://u:secret@[h1,h2/db": "must be postgresql://",
    "mysql://u:secret@h1,h2/db": "must be postgresql://",
}


@pytest.mark.parametrize("url", WRONG)
def test_what_cannot_work_is_refused_without_the_password(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_address(url, "WAGGLE_POSTGRES_DIRECT_URL", environ={})
    assert str(raised.value).startswith("WAGGLE_POSTGRES_DIRECT_URL")
    assert WRONG[url] in str(raised.value)
    assert "secret" not in str(raised.value)
