"""The lanes in which tasks wait, as two loops need them every two seconds."""

from waggle.loops import Looks
from waggle.store import waiting
from waggle.store.client import Connection


class WaitingLanes:
    """Finding them costs a probe for each lane, but under an old snapshot it passes over every task that has left its lane: then it is done rarely."""

    def __init__(self) -> None:
        self._looks = Looks()
        self._names: list[tuple[str, int]] = []

    async def names(self, connection: Connection) -> list[tuple[str, int]]:
        """Each queue and priority, paused queues left out; up to a minute old under an old snapshot."""
        with self._looks.look() as back:
            if back is None:
                self._names = await waiting.lanes(connection)
        return self._names
