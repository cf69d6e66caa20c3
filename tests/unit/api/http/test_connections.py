"""The count of connections: which are too many, and which of those are told."""

from waggle_api.http.connections import SPARE, Connections


def test_each_address_has_its_limit() -> None:
    counted = Connections(most=100, most_each=2)
    assert [counted.enter("a") for _ in range(3)] == [None, None, "2 connections of one address are open"]
    assert counted.enter("b") is None
    counted.leave("a")
    counted.leave("a")
    assert counted.enter("a") is None


def test_all_together_have_one() -> None:
    counted = Connections(most=2, most_each=100)
    assert [counted.enter(address) for address in "abc"] == [None, None, "2 connections are open"]


def test_of_a_flood_only_some_are_told() -> None:
    for counted in (Connections(most=10, most_each=1_000), Connections(most=1_000, most_each=10)):
        said = [counted.enter("a") for _ in range(200)]
        assert (said.count(None), said.count("")) == (10, 190 - SPARE)
        for _ in range(200):
            counted.leave("a")
        assert counted.enter("a") is None
