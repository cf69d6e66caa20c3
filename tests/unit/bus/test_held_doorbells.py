"""A doorbell that a worker holds: its tasks are taken a few at a time, and it is done when all of them are decided."""

from typing import cast
from uuid import uuid4

from nats.aio.client import Client
from nats.aio.msg import Msg

from waggle.bus.pull import Held


def held(count: int) -> Held:
    return Held([uuid4() for _ in range(count)], Msg(cast(Client, None)), 0.0)


def test_tasks_are_taken_in_order_and_each_once() -> None:
    bell = held(5)
    assert bell.take(2) + bell.take(2) + bell.take(9) == bell.ids
    assert bell.left == 0
    assert bell.take(1) == []


def test_it_is_done_when_every_task_is_decided() -> None:
    bell = held(3)
    assert not bell.is_done
    bell.take(2)
    bell.open -= 2
    assert not bell.is_done, "one was not taken"
    bell.take(1)
    assert not bell.is_done, "the claim of one is under way"
    bell.open -= 1
    assert bell.is_done


def test_one_that_was_given_back_is_not_acked_when_a_late_claim_is_decided() -> None:
    bell = held(1)
    bell.take(1)
    bell.given_back = True
    bell.open -= 1
    assert not bell.is_done
