"""How free slots are shared between lanes: weight 1 : 3 : 5 : 10 from low to critical, work-conserving, low never starved. Pure."""

from collections.abc import Sequence
from typing import Final

WEIGHTS: Final = (1, 3, 5, 10)  # by Priority


class Picker:
    """Smooth weighted round robin, as nginx does it: exact shares over time, however few slots are picked at once."""

    def __init__(self) -> None:
        self._credit = [0] * len(WEIGHTS)

    def share(self, waiting: Sequence[int], slots: int) -> list[int]:
        """How many of `slots` each priority gets, when `waiting` holds the doorbells of each. An empty lane's share goes to the others."""
        left = list(waiting)
        got = [0] * len(WEIGHTS)
        active = [priority for priority, count in enumerate(left) if count]
        slots = min(slots, sum(left))
        while slots and len(active) > 1:
            total = sum(WEIGHTS[priority] for priority in active)
            for priority in active:
                self._credit[priority] += WEIGHTS[priority]
            chosen = max(active, key=self._credit.__getitem__)
            self._credit[chosen] -= total
            got[chosen] += 1
            left[chosen] -= 1
            slots -= 1
            if not left[chosen]:
                self._credit[chosen] = 0
                active.remove(chosen)
        if slots:
            got[active[0]] += slots
        return got
