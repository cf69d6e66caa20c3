"""Subject names and message encodings."""

import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waggle.bus import subjects
from waggle.settings.shared import Name
from waggle.task import AT_REST, QUEUE_LENGTH, QUEUE_PATTERN, Priority, Status

MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds the time zone


@given(st.lists(st.uuids(), min_size=1, max_size=subjects.IDS_LIMIT), MOMENTS)
def test_a_doorbell_carries_its_tasks_and_its_time_to_the_microsecond(tasks: list[UUID], rung_at: datetime) -> None:
    data = subjects.doorbell(tasks, rung_at)
    assert subjects.read_doorbell(data) == tasks
    assert subjects.rung_at(data) == rung_at


@given(st.uuids(), MOMENTS)
def test_a_doorbell_of_one_task_is_what_older_versions_read(task_id: UUID, rung_at: datetime) -> None:
    microseconds = (rung_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert subjects.doorbell([task_id], rung_at) == struct.pack(">16sq", task_id.bytes, microseconds)


@given(st.uuids(), MOMENTS, st.integers(-12, 12))
def test_a_doorbell_means_the_same_moment_in_every_time_zone(task_id: UUID, rung_at: datetime, hours: int) -> None:
    from datetime import timezone

    try:
        elsewhere = rung_at.astimezone(timezone(timedelta(hours=hours)))
    except OverflowError:
        return
    assert subjects.doorbell([task_id], elsewhere) == subjects.doorbell([task_id], rung_at)


SIZES = range(24, 8 + 16 * subjects.IDS_LIMIT + 1, 16)


@given(st.binary(max_size=1100).filter(lambda data: len(data) not in SIZES))
def test_anything_of_another_size_is_no_doorbell(data: bytes) -> None:
    with pytest.raises(ValueError, match="doorbell"):
        subjects.read_doorbell(data)
    with pytest.raises(ValueError, match="doorbell"):
        subjects.rung_at(data)


@given(st.binary(min_size=24, max_size=24))
def test_any_bytes_of_the_right_size_are_a_time_or_a_value_error(data: bytes) -> None:
    try:
        subjects.rung_at(data)
    except ValueError:
        return


@given(st.lists(st.tuples(st.uuids(), st.sampled_from(sorted(AT_REST)))))
def test_a_settle_batch_names_its_tasks(batch: list[tuple[UUID, Status]]) -> None:
    assert subjects.read_settled(subjects.settled(batch)) == [task_id for task_id, _ in batch]


@given(st.binary())
def test_a_settle_batch_that_is_cut_off_harms_nobody(data: bytes) -> None:
    assert len(subjects.read_settled(data)) == len(data) // 17


@given(st.lists(st.tuples(st.uuids(), st.integers(1, 2**31 - 1))))
def test_a_command_names_the_attempts_to_stop(attempts: list[tuple[UUID, int]]) -> None:
    assert subjects.read_control_message(subjects.control_message(attempts)).stop == attempts


def test_commands_may_hold_more_and_less_than_this_version_knows() -> None:
    assert subjects.read_control_message(b"{}") == subjects.ControlMessage(stop=[], look=False)
    assert (
        subjects.read_control_message(b'{"drain": {"now": 1}, "look": true}')
        == subjects.read_control_message(subjects.RELOAD_PAUSES)
        == subjects.ControlMessage(look=True)
    )


@given(st.binary())
def test_a_command_that_is_none_is_told(data: bytes) -> None:
    try:
        subjects.read_control_message(data)
    except msgspec.DecodeError:
        return


QUEUES = st.from_regex(QUEUE_PATTERN.replace("$", r"\Z"), fullmatch=False).filter(lambda queue: len(queue) <= QUEUE_LENGTH)


@given(QUEUES)
def test_a_valid_queue_name_fits(queue: str) -> None:
    assert subjects.fits(queue)


@pytest.mark.parametrize("queue", ["", "x" * 33, "Mail", "1st", "two words", "dots.in.it", "*", ">", "mail\n", "größe"])
def test_other_queue_names_do_not_fit(queue: str) -> None:
    assert not subjects.fits(queue)


@pytest.mark.parametrize("queue", ["mail", "x" * 32, "x" * 33, "Mail", "1st", "two words", "dots.in.it", ""])
def test_a_worker_can_be_set_to_serve_exactly_the_queues_whose_names_fit(queue: str) -> None:
    try:
        msgspec.convert(queue, Name)
    except msgspec.ValidationError:
        assert not subjects.fits(queue)
    else:
        assert subjects.fits(queue)


@given(st.lists(st.tuples(QUEUES, st.sampled_from(Priority)), unique=True, max_size=20))
def test_no_two_lanes_share_a_subject_or_a_consumer(lanes: list[tuple[str, Priority]]) -> None:
    assert len({subjects.work(*lane) for lane in lanes}) == len(lanes)
    assert len({subjects.consumer(*lane) for lane in lanes}) == len(lanes)


@given(QUEUES, st.sampled_from(Priority))
def test_a_lane_is_one_token_and_its_consumer_holds_no_dot(queue: str, priority: Priority) -> None:
    assert subjects.work(queue, priority) == f"waggle.work.{queue}.{priority.name.lower()}"
    assert not set(subjects.consumer(queue, priority)) & set(". *>")


@given(QUEUES, st.sampled_from(Priority))
def test_a_subject_tells_its_lane(queue: str, priority: Priority) -> None:
    assert subjects.lane(subjects.work(queue, priority)) == (queue, priority)


@pytest.mark.parametrize(
    "subject", ["waggle.work.default", "waggle.work.default.urgent", "waggle.work.default.LOW", "waggle.work.a.b.low", "other.default.low", ""]
)
def test_a_subject_that_is_no_lanes_has_none(subject: str) -> None:
    assert subjects.lane(subject) is None


@pytest.mark.parametrize("names", ["WAGGLE_SUBMIT.ingest", "_.account.WAGGLE_SUBMIT.ingest"])
def test_a_place_is_read_from_both_forms_of_ack_subjects(names: str) -> None:
    ending = ".random" if names.startswith("_") else ""
    assert subjects.place(f"$JS.ACK.{names}.2.17.9.1700000000000000001.0{ending}") == (17, 1_700_000_000_000_000_001, 2)


@pytest.mark.parametrize("subject", ["", "$JS.ACK.", "an.inbox.of.somebody.else.with.numbers.1.2.3.4.5", "$JS.ACK.stream.consumer.1.2.3.x.5"])
def test_another_subject_is_no_place(subject: str) -> None:
    with pytest.raises(ValueError, match=r"ack subject|invalid literal"):
        subjects.place(subject)
