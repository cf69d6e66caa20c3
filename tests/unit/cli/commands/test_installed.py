"""A command whose packages are not installed names them, and what to install."""

from waggle_cli.commands.installed import missing


def test_what_is_installed_is_not_mentioned() -> None:
    assert missing("waggle api", "waggle[api]", "waggle_api", installed=lambda _: True) is None


def test_what_is_missing_is_named_with_what_to_install() -> None:
    said = missing("waggle up", "waggle[up]", "waggle_embedded", "waggle_api", "waggle_dlq", installed=lambda module: module == "waggle_api")
    assert said == "waggle up: not installed: waggle_embedded, waggle_dlq; install `waggle[up]`"
