"""Which tasks share a doorbell: as many as the batch is large, and never so many that a few idle workers could not share it."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from waggle.bus import subjects
from waggle.bus.ring import SPREAD, together

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "most", "doorbells", "largest"),
    [(1, 64, 1, 1), (31, 64, 31, 1), (64, 64, 64, 1), (128, 64, 32, 4), (1_088, 64, 17, 64), (5_000, 64, 79, 64), (1_024, 1, 1_024, 1)],
)
def test_a_batch_is_spread_over_doorbells(count: int, most: int, doorbells: int, largest: int) -> None:
    tasks = [(uuid4(), START) for _ in range(count)]
    made = together(tasks, most)
    carried = [subjects.read_doorbell(doorbell) for doorbell in made]
    assert [task for ids in carried for task in ids] == [task for task, _ in tasks]
    assert (len(made), max(map(len, carried))) == (doorbells, largest)
    assert len(made) >= min(count, SPREAD)


def test_a_doorbell_has_the_earliest_time_of_its_tasks() -> None:
    tasks = [(uuid4(), START + timedelta(seconds=(number * 7) % 32)) for number in range(96)]
    first, *_ = together(tasks, 64)
    assert subjects.rung_at(first) == min(rung for _, rung in tasks[:2])
