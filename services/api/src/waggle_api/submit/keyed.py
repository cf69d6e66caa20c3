"""Submissions with an idempotency key or a unique key: a group of them is one transaction.

Keys are taken in one order and before any task, and tasks are inserted in the order of their unique keys, so that groups do not wait for each
other in a circle.
"""

from collections.abc import Sequence
from typing import Final

from waggle.store import idempotency, tasks
from waggle.store.idempotency import Key
from waggle.store.tasks import NewTask
from waggle_api.connections import Borrowed
from waggle_api.refusals import Conflict, Refusal, Unavailable
from waggle_api.submit.insertion import Accepted, Submission, Written, insert

USED: Final = "this Idempotency-Key was used for another request"
GONE: Final = "this Idempotency-Key was used before, and its tasks were deleted since"

Name = tuple[str, str] | int  # submitter and key; a submission without a key is its own name


async def insert_keyed(connection: Borrowed, group: Sequence[Submission], ring: bool) -> Written:
    """Write a group. Of several with one key the first one counts, the others repeat it. Raises Unavailable when keys change at this moment."""
    leaders: dict[Name, Submission] = {}
    for submission in group:
        leaders.setdefault(_name(submission), submission)
    async with connection.transaction():
        earlier = await _take_keys(connection, leaders)
        own = {name: leader for name, leader in leaders.items() if _is_ours(leader.key, earlier.get(name))}
        standing = await insert(connection, sorted([new for leader in own.values() for new in leader.tasks], key=_unique_order), ring)
        accepted = {name: standing.accepted(leader) for name, leader in own.items()}
        await _point_keys(connection, own, accepted)
        ids = [task_id for key in earlier.values() for task_id in key.task_ids]
        known = await tasks.get_many(connection, ids) if ids else {}

    def outcome(submission: Submission) -> Accepted | Refusal:
        name = _name(submission)
        if name not in accepted:
            found = earlier[name]
            there = [known[task_id] for task_id in found.task_ids if task_id in known]
            return _replay(submission, found, Accepted(there, 0, replayed=True) if len(there) == len(found.task_ids) else Conflict(GONE))
        leader = leaders[name]
        if submission is leader or leader.key is None:
            return accepted[name]
        return _replay(submission, leader.key, accepted[name]._replace(created=0, replayed=True))

    return Written([outcome(submission) for submission in group], standing.bells, list(standing.created.values()))


def _name(submission: Submission) -> Name:
    return id(submission) if submission.key is None else (submission.key.submitter, submission.key.key)


async def _take_keys(connection: Borrowed, leaders: dict[Name, Submission]) -> dict[Name, Key]:
    """Take the leaders' keys; returns what stands under those that were taken before."""
    keys = [leader.key for leader in leaders.values() if leader.key is not None]
    if not keys:
        return {}
    taken = await idempotency.take(connection, keys)
    others = [key for key in keys if (key.submitter, key.key) not in taken]
    found = await idempotency.find(connection, others) if others else {}
    if len(found) < len(others):
        raise Unavailable("an idempotency key was removed at this moment: repeat the request", retry_after=1)
    return {(key.submitter, key.key): key for key in found.values()}


def _is_ours(key: Key | None, earlier: Key | None) -> bool:
    """Whether the tasks are to be inserted: nobody took the key before, or an earlier try of this very submission did."""
    return key is None or earlier is None or earlier.task_ids == key.task_ids


async def _point_keys(connection: Borrowed, own: dict[Name, Submission], accepted: dict[Name, Accepted]) -> None:
    """Where a unique key led to an existing task, the idempotency key stands for that one."""
    moved = []
    for name, leader in own.items():
        ids = tuple([task.id for task in accepted[name].tasks])
        if leader.key is not None and ids != leader.key.task_ids:
            moved.append(leader.key._replace(task_ids=ids))
    if moved:
        await idempotency.point(connection, moved)


def _replay(submission: Submission, earlier: Key, outcome: Accepted | Refusal) -> Accepted | Refusal:
    """The outcome of a submission whose key stands for `outcome` already: the same body gets it, another one is a conflict."""
    assert submission.key is not None
    return outcome if submission.key.body_hash == earlier.body_hash else Conflict(USED)


def _unique_order(new: NewTask) -> tuple[str, str]:
    return new.type, new.unique_key or ""
