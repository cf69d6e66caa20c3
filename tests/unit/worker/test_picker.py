"""How free slots are shared between the priorities."""

from hypothesis import given
from hypothesis import strategies as st

from waggle_worker.picker import WEIGHTS, Picker

FULL = [10**9] * 4


def test_full_lanes_share_the_slots_by_weight() -> None:
    assert Picker().share(FULL, 1900) == [100, 300, 500, 1000]


def test_single_slots_add_up_to_the_same_shares() -> None:
    picker = Picker()
    got = [0, 0, 0, 0]
    for _ in range(1900):
        got = [a + b for a, b in zip(got, picker.share(FULL, 1), strict=True)]
    assert got == [100, 300, 500, 1000]


def test_low_gets_a_slot_in_every_nineteen() -> None:
    picker = Picker()
    for _ in range(10):
        assert picker.share(FULL, 19)[0] == 1


def test_an_empty_lane_gives_its_share_to_the_others() -> None:
    assert Picker().share([10**9, 0, 0, 10**9], 110) == [10, 0, 0, 100]


def test_a_lone_lane_gets_everything() -> None:
    assert Picker().share([0, 7, 0, 0], 100) == [0, 7, 0, 0]


@given(st.lists(st.tuples(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.integers(0, 64)), max_size=20))
def test_never_more_than_waits_and_never_a_slot_unused(rounds: list[tuple[list[int], int]]) -> None:
    picker = Picker()
    for waiting, slots in rounds:
        got = picker.share(waiting, slots)
        assert all(0 <= g <= w for g, w in zip(got, waiting, strict=True))
        assert sum(got) == min(slots, sum(waiting))


def test_the_weights_are_those_of_the_design() -> None:
    assert WEIGHTS == (1, 3, 5, 10)
