"""Inserts submissions with an idempotency key or a unique key: a group of them is one transaction.

Keys are taken in a fixed order before any task, and tasks are inserted in the order of their unique keys, so that groups cannot deadlock.
"""

from collections.abc import Sequence
from typing import Final

from waggle.store import idempotency, tasks
from waggle.store.client import PooledConnection
from waggle.store.idempotency import Key
from waggle.store.tasks import NewTask
from waggle_api.refusals import Conflict, Refusal, Unavailable, UsedKey
from waggle_api.submit.insertion import Accepted, Admitted, Written, insert

USED: Final = "was used for another request"
GONE: Final = "this Idempotency-Key was used before, and its tasks have been deleted since"

KeyName = tuple[str, str] | int  # submitter and key; a submission without a key is its own name


async def insert_keyed(connection: PooledConnection, group: Sequence[Admitted], ring: bool) -> Written:
    """Insert a group. Of several submissions with one key the first one counts; the others repeat it. Raises Unavailable if keys change concurrently."""
    leaders: dict[KeyName, Admitted] = {}
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

    def outcome(submission: Admitted) -> Accepted | Refusal:
        name = _name(submission)
        if name not in accepted:
            found = earlier[name]
            there = [known[task_id] for task_id in found.task_ids if task_id in known]
            return _replay(submission, found, Accepted(there, 0, replayed=True) if len(there) == len(found.task_ids) else Conflict(GONE))
        leader = leaders[name]
        if submission is leader or leader.key is None:
            return accepted[name]
        return _replay(submission, leader.key, accepted[name]._replace(created=0, replayed=True))

    return Written([outcome(submission) for submission in group], standing.doorbells, list(standing.created.values()))


def _name(submission: Admitted) -> KeyName:
    return id(submission) if submission.key is None else (submission.key.submitter, submission.key.key)


async def _take_keys(connection: PooledConnection, leaders: dict[KeyName, Admitted]) -> dict[KeyName, Key]:
    """Take the leaders' keys; returns those that were taken before, with the tasks that they stand for."""
    keys = [leader.key for leader in leaders.values() if leader.key is not None]
    if not keys:
        return {}
    taken = await idempotency.take(connection, keys)
    others = [key for key in keys if (key.submitter, key.key) not in taken]
    found = await idempotency.find(connection, others) if others else {}
    if len(found) < len(others):
        raise Unavailable("an idempotency key was deleted concurrently; retry the request", retry_after=1)
    return {(key.submitter, key.key): key for key in found.values()}


def _is_ours(key: Key | None, earlier: Key | None) -> bool:
    """Whether to insert the tasks: the key is new, or an earlier try of this same submission took it."""
    return key is None or earlier is None or earlier.task_ids == key.task_ids


async def _point_keys(connection: PooledConnection, own: dict[KeyName, Admitted], accepted: dict[KeyName, Accepted]) -> None:
    """If a unique key led to an existing task, let the idempotency key stand for that one."""
    moved = []
    for name, leader in own.items():
        ids = tuple([task.id for task in accepted[name].tasks])
        if leader.key is not None and ids != leader.key.task_ids:
            moved.append(leader.key._replace(task_ids=ids))
    if moved:
        await idempotency.point(connection, moved)


def _replay(submission: Admitted, earlier: Key, outcome: Accepted | Refusal) -> Accepted | Refusal:
    """The outcome of a submission whose key already stands for `outcome`: the same body gets it, another body is refused."""
    assert submission.key is not None
    return outcome if submission.key.body_hash == earlier.body_hash else UsedKey(USED)


def _unique_order(new: NewTask) -> tuple[str, str]:
    return new.type, new.unique_key or ""
