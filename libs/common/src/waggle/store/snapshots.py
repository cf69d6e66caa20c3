"""Old snapshots: whoever keeps Postgres from removing dead rows of our tables, so that statements have to pass over more and more of them."""

from typing import Final, Literal, NamedTuple

from waggle.store.client import Connection
from waggle.store.sql import statement

OLD_SECONDS: Final = 60.0
OLD_TRANSACTIONS: Final = 100_000  # where Postgres tells no time: some 100 s of a busy system

Kind = Literal["session", "prepared transaction", "replication slot", "standby"]


class HeldSnapshot(NamedTuple):
    """Something that holds dead rows back. `name`: a process id, the identifier of a prepared transaction, or the name of a slot.

    `seconds` is None where Postgres does not tell since when; `transactions` is how many have begun since.
    """

    kind: Kind
    name: str
    role: str | None
    application: str | None
    database: str | None
    state: str | None
    seconds: float | None
    transactions: int

    @property
    def is_old(self) -> bool:
        """Whether it has been held for longer than a statement of Waggle's needs."""
        return (self.seconds or 0.0) >= OLD_SECONDS or (self.seconds is None and self.transactions >= OLD_TRANSACTIONS)


async def held(connection: Connection) -> list[HeldSnapshot]:
    """All that this role can see, the oldest first."""
    found = [HeldSnapshot(*row) for row in await statement("snapshots/held").fetch(connection)]
    return sorted(found, key=lambda snapshot: snapshot.transactions, reverse=True)


async def hidden(connection: Connection) -> int:
    """How many sessions this role cannot look into."""
    return int(await statement("snapshots/hidden").fetchval(connection))
