"""Who sends a request, and what they may do."""

from collections.abc import Iterable
from typing import Final
from uuid import UUID

import msgspec

from waggle.scopes import GRANTED, Scope
from waggle.task import Task
from waggle_api.refusals import Forbidden


class Caller(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`name` is who submits tasks and owns idempotency keys, as tasks, logs and other services show it. `queues` and `types` of None: all.

    `session` is that of a user who has signed in, `by_cookie` in a browser. `door`: how they came in, as the timeline of their tasks shows it.
    """

    name: str
    scopes: frozenset[Scope]
    queues: frozenset[str] | None = None
    types: frozenset[str] | None = None
    session: UUID | None = None
    by_cookie: bool = False
    door: str = "rest"

    @property
    def is_limited(self) -> bool:
        """Whether tasks exist that they neither create nor see."""
        return self.queues is not None or self.types is not None

    @property
    def sees_payloads(self) -> bool:
        return Scope.PAYLOADS_READ in self.scopes

    def reaches(self, queue: str, task_type: str) -> bool:
        """Whether tasks of this queue and type exist for them."""
        return (self.queues is None or queue in self.queues) and (self.types is None or task_type in self.types)

    def sees(self, task: Task) -> bool:
        return not self.is_limited or self.reaches(task.queue, task.type)

    def check_type(self, name: str) -> None:
        """Raises Forbidden."""
        if self.types is not None and name not in self.types:
            raise Forbidden(f"this key is limited to tasks of the types {_listed(self.types)}")

    def check_queue(self, name: str) -> None:
        """Raises Forbidden."""
        if self.queues is not None and name not in self.queues:
            raise Forbidden(f"this key is limited to the queues {_listed(self.queues)}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "(none)"


ANONYMOUS: Final = Caller(name="anonymous", scopes=GRANTED)
"""Everybody, where the API asks nobody who they are."""

NOBODY: Final = Caller(name="nobody", scopes=frozenset())
"""Who uses a public route."""
