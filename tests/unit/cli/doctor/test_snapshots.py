"""An old snapshot is named with who holds it, for how long, and how to end it."""

import pytest

from waggle.store.snapshots import OLD_SECONDS, OLD_TRANSACTIONS, HeldSnapshot, Kind
from waggle_cli.doctor.findings import Level
from waggle_cli.doctor.snapshots import findings


def snapshot(kind: Kind, name: str, seconds: float | None, transactions: int = 5, state: str | None = None) -> HeldSnapshot:
    return HeldSnapshot(kind, name, "bob", "report", "shop", state, seconds, transactions)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (
            snapshot("session", "4711", 3_605.2, state="idle in transaction"),
            "session 4711 (bob, report, idle in transaction) has held a snapshot for 3,605 s: no dead row is removed, and all work becomes slower"
            " → end its transaction, or run SELECT pg_terminate_backend(4711)",
        ),
        (
            snapshot("prepared transaction", "x1", 61.0),
            "prepared transaction x1 (bob, report) has held a snapshot for 61 s: no dead row is removed, and all work becomes slower"
            " → in database shop run COMMIT PREPARED 'x1' or ROLLBACK PREPARED 'x1'",
        ),
        (
            snapshot("replication slot", "old", None, 250_000),
            "replication slot old (bob, report) has held a snapshot for 250,000 transactions: no dead row is removed, and all work becomes slower"
            " → start what reads it, or run SELECT pg_drop_replication_slot('old')",
        ),
    ],
)
def test_who_holds_it_and_how_to_end_it(one: HeldSnapshot, said: str) -> None:
    (finding,) = findings([one], 0)
    assert (finding.level, f"{finding.what} → {finding.advice}") == (Level.WARNING, said)


def test_short_ones_are_no_problem() -> None:
    held = [snapshot("session", "1", OLD_SECONDS - 1, OLD_TRANSACTIONS * 2), snapshot("standby", "2", None, OLD_TRANSACTIONS - 1)]
    (finding,) = findings(held, 0)
    assert finding.level == Level.OK


def test_what_cannot_be_seen_is_said() -> None:
    (finding,) = findings([], 3)
    assert (finding.level, finding.what) == (Level.SKIPPED, "this role cannot see the snapshots of 3 sessions")
