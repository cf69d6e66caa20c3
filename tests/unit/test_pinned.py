"""A library whose private parts Waggle uses has exactly the version that they were tested with, or the start ends."""

from importlib import metadata

import pytest

from waggle.pinned import WrongVersion, require


def test_the_installed_version_is_taken() -> None:
    require("nats-py", metadata.version("nats-py"), "of a test")


def test_another_version_is_refused_with_what_to_install() -> None:
    with pytest.raises(
        WrongVersion, match=r"^nats-py \S+ is installed, but Waggle needs exactly 0\.0\.1 because of a test: run `pip install nats-py==0\.0\.1`$"
    ):
        require("nats-py", "0.0.1", "of a test")


def test_a_library_that_is_not_there_is_refused() -> None:
    with pytest.raises(WrongVersion, match=r"^no-such-library is not installed, but Waggle needs exactly 1"):
        require("no-such-library", "1", "of a test")
