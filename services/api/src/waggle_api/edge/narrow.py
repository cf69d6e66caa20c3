"""What a limited caller's filters come to: what they ask for and may see."""

from typing import NamedTuple

from waggle_api.caller import Caller
from waggle_api.refusals import Forbidden


class Wanted(NamedTuple):
    """Filters; None: no filter. `queues` is only given without `queue`."""

    types: list[str] | None
    queue: str | None
    queues: list[str] | None


def to_reach(caller: Caller, types: list[str] | None, queue: str | None) -> Wanted | None:
    """The filters, narrowed to what this caller may see; None if that is nothing."""
    if caller.types is not None:
        types = sorted(caller.types if types is None else caller.types.intersection(types))
    if types == []:
        return None
    if caller.queues is None:
        return Wanted(types, queue, None)
    reached = sorted(caller.queues if queue is None else caller.queues & {queue})
    if not reached:
        return None
    return Wanted(types, reached[0], None) if len(reached) == 1 else Wanted(types, None, reached)


def to_one_queue(caller: Caller, types: list[str] | None, queue: str | None) -> Wanted:
    """As `to_reach`, for what names one queue or none. Raises Forbidden for who may see nothing of it, or has several queues and names none."""
    wanted = to_reach(caller, types, queue)
    if wanted is None:
        raise Forbidden("your key is limited to other queues or types")
    if wanted.queues is not None:
        raise Forbidden(f"your key is limited to the queues {', '.join(wanted.queues)}: name one of them")
    return wanted
