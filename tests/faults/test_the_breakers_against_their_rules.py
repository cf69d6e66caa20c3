"""Three workers share a circuit breaker over a real NATS in random orders: each of their requests may wait, get lost, or lose its reply.

Meanwhile calls fail and succeed, probes are neutral or cancelled, workers die, leases end, an operator resets the breaker, names are evicted, deleted
and overwritten, the bucket is wiped. The test checks the rules from outside, with the steps of `docs/model/sharing.py`.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.facts import until
from support.fleet import FleetSettings
from support.links import ANSWER_LOST, GO, LOST, Clock, Gate, Link
from support.scale import dice, figures, sized
from support.servers import NatsServer
from waggle.bus import breakers as bucket
from waggle.bus import connection, subjects, topology
from waggle.bus.breakers import Entry, State
from waggle.bus.connection import Bus
from waggle.context import BreakerOpen
from waggle_worker.protect import breaker as one
from waggle_worker.protect import sharing
from waggle_worker.protect.breakers import Breakers
from waggle_worker.protect.calls import BreakerCall

NAME = "service"
RUNS, STEPS = sized((50, 60), (1_000, 90))
RESET, MOST, LEASE = 10.0, 40.0, 15.0


class Worker:
    """A worker as the test sees it, with its calls in progress."""

    def __init__(self, real: Bus, clock: Clock) -> None:
        self.link = Link(real, clock)
        settings = FleetSettings(postgres_url="x", nats_url="x", breaker_threshold=1, breaker_reset=RESET, breaker_reset_max=MOST, lease=LEASE)
        self.breakers = Breakers(self.link, settings, clock.monotonic)
        self.tasks: dict[asyncio.Task[Any], str] = {}  # in progress, with their kind
        self.calls: list[BreakerCall] = []
        self.blurred = False  # whether it may have a probe unknown to the fleet
        self.began = 0.0  # its last probe

    @property
    def breaker(self) -> one.Breaker:
        return self.breakers.of(NAME)

    @property
    def probes(self) -> bool:
        return self.breaker.token is not None

    def busy(self, kind: str) -> bool:
        return kind in self.tasks.values()


class Fleet:
    """Random choices, the workers, and the history that the rules need."""

    def __init__(self, chance: random.Random, real: Bus, clock: Clock, settings: FleetSettings) -> None:
        self.chance, self.real, self.clock, self.settings = chance, real, clock, settings
        self.workers = [self.begins() for _ in range(3)]
        self.story: list[str] = []
        self.closings: list[float] = []  # when a probe succeeded or an operator reset the breaker
        self.reset = 0.0
        self.probes = 0
        self.was = [State.CLOSED] * 3
        self.opened = [0.0] * 3

    def begins(self) -> Worker:
        return Worker(self.real, self.clock)

    async def run(self, steps: int) -> None:
        kinds: list[tuple[int, Callable[[Worker], Coroutine[Any, Any, None]]]] = [
            (6, self.share), (6, self.call), (8, self.end_call), (3, self.share_in_steps), (3, self.call_in_steps), (12, self.let_through), (4, self.pass_time),
            (1, self.reset_it), (1, self.cut_off), (2, self.come_back), (1, self.die), (1, self.cancel), (1, self.disturb),
        ]  # fmt: skip
        for _ in range(steps):
            self.clock.now += 0.01
            [(_, step)] = self.chance.choices(kinds, [weight for weight, _ in kinds])
            await step(self.chance.choice(self.workers))
            self.look()

    def tell(self, worker: Worker, what: str) -> None:
        self.story.append(f"{self.clock.now:.2f} {self.workers.index(worker)} {what} ({worker.breaker.state})")

    # ---- steps

    async def share(self, worker: Worker) -> None:
        if not worker.busy("share"):
            await worker.breakers.sharing.share()
            self.tell(worker, "shares")
            await self.agrees(worker)

    async def call(self, worker: Worker) -> None:
        await self._call(worker)

    async def _call(self, worker: Worker) -> None:
        guard = BreakerCall(worker.breakers, NAME, (), asyncio.get_running_loop(), set())
        # A revision from an earlier bucket may by chance belong to another record in this one.
        knows_bucket = worker.breakers.sharing.reader.made == (await bucket.snapshot(self.real)).made
        asked_fleet = worker.link.connected and worker.breakers.sharing.in_touch and knows_bucket
        try:
            await guard.enter()
        except BreakerOpen:
            return
        worker.calls.append(guard)
        if guard._token is not None:
            self.probes += 1
            self.tell(worker, "probes")
            worker.blurred, worker.began = not (asked_fleet and worker.breakers.sharing.in_touch), self.clock.now
            self.one_probe(worker)

    async def end_call(self, worker: Worker) -> None:
        if not worker.calls:
            return
        guard = worker.calls.pop(self.chance.randrange(len(worker.calls)))
        before, token = worker.breaker.state, worker.breaker.token
        how = self.chance.choices((None, OSError("no answer"), asyncio.CancelledError()), (5, 4, 1))[0]
        guard.exited(how)
        if token is not None and worker.breaker.state is State.CLOSED and before is not State.CLOSED:
            self.closings.append(self.clock.now)
        self.tell(worker, f"a call ends: {how!r}")

    async def share_in_steps(self, worker: Worker) -> None:
        if not worker.busy("share"):
            await self._begin(worker, "share", worker.breakers.sharing.share())

    async def call_in_steps(self, worker: Worker) -> None:
        if not worker.busy("call"):
            await self._begin(worker, "call", self._call(worker))

    async def _begin(self, worker: Worker, kind: str, coroutine: Coroutine[Any, Any, None]) -> None:
        self.tell(worker, f"begins to {kind}")
        task = asyncio.create_task(coroutine)
        worker.link.stepped.add(task)
        worker.tasks[task] = kind
        await self._settled()

    async def let_through(self, worker: Worker) -> None:
        for _ in range(self.chance.randint(1, 3)):
            if not worker.link.gates:
                return
            gate: Gate = self.chance.choice(worker.link.gates)
            fate = self.chance.choices((GO, ANSWER_LOST, LOST), (10, 1, 0 if gate.has_left else 1))[0]
            self.tell(worker, f"{gate.what.removeprefix('$JS.API.')} {'is answered' if gate.has_left else 'leaves'}: {fate}")
            worker.blurred |= fate != GO
            gate.fate.set_result(fate)
            await self._settled()

    async def _settled(self) -> None:
        """Every call waits at a gate or has ended."""

        def waits() -> bool:
            return all(sum(not gate.fate.done() for gate in each.link.gates) >= sum(not begun.done() for begun in each.tasks) for each in self.workers)

        await until(waits, 30.0)
        for worker in self.workers:
            for task in [task for task in worker.tasks if task.done()]:
                worker.link.stepped.discard(task)
                del worker.tasks[task]
                if not task.cancelled():
                    task.result()

    async def pass_time(self, worker: Worker) -> None:
        """Advance by less than a renewal interval, or past all times; a connected worker renews in between, as its loop would."""
        for _ in range(self.chance.choice((1, 3, 5))):
            self.clock.now += LEASE / 5
            for each in self.workers:
                if each.probes and not each.busy("share"):
                    await each.breakers.sharing.share()
        self.tell(worker, "time passes")

    async def reset_it(self, _: Worker) -> None:
        link = Link(self.real, self.clock)
        if await bucket.reset(link, NAME):
            self.reset = self.clock.now
            self.closings.append(self.clock.now)
            self.story.append(f"{self.clock.now:.2f} RESET")

    async def cut_off(self, worker: Worker) -> None:
        self.tell(worker, "is cut off")
        worker.link.away = worker.blurred = True

    async def come_back(self, worker: Worker) -> None:
        worker.link.away = False

    async def cancel(self, worker: Worker) -> None:
        for task, kind in worker.tasks.items():
            if kind == "call":
                self.tell(worker, "a call is cancelled")
                task.cancel()
        await self._settled()

    async def die(self, worker: Worker) -> None:
        self.tell(worker, "dies")
        tasks = list(worker.tasks)
        worker.link.away = True  # a dead worker sends nothing
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        at = self.workers.index(worker)
        self.workers[at] = self.begins()
        self.was[at], self.opened[at] = State.CLOSED, 0.0

    async def disturb(self, _: Worker) -> None:
        """Another client changes the bucket."""
        js, subject = self.real.jetstream(), subjects.breaker(NAME)
        what = self.chance.choice(("forgotten", "deleted", "scribbled", "wiped"))
        self.story.append(f"{self.clock.now:.2f} {what}")
        match what:
            case "forgotten":
                await js.purge_stream(subjects.BREAKERS_STREAM, subject=subject)
            case "deleted":
                await js.publish(subject, b"", headers={"KV-Operation": "DEL"})
            case "scribbled":
                await js.publish(subject, b"hello")
            case _:
                await js.delete_stream(subjects.BREAKERS_STREAM)
                await topology.ensure(self.real, self.settings, [])
        self.reset = 0.0
        for each in self.workers:
            each.blurred = True

    # ---- rules

    def one_probe(self, worker: Worker) -> None:
        """Probes that the fleet granted, whose lease has not ended, since the last reset."""
        others = [
            each
            for each in self.workers
            if each is not worker and each.probes and not each.blurred and each.breaker.until > self.clock.now and each.began > self.reset
        ]
        assert worker.blurred or not others, "two probes at once"

    def look(self) -> None:
        for at, worker in enumerate(self.workers):
            state = worker.breaker.state
            if self.was[at] is not State.CLOSED and state is State.CLOSED:
                assert any(closing >= self.opened[at] - 0.001 for closing in self.closings), "it closed without a success or a reset"
            self.was[at], self.opened[at] = state, worker.breaker.opened

    async def agrees(self, worker: Worker) -> None:
        """A worker that has read everything has the state of the bucket; a reset breaker stays reset."""
        if worker.link.away or worker.busy("call") or worker.breakers.ledger.unwritten:
            return
        found = await self.record()
        if found is None:
            return
        known, told = worker.breaker, found.record
        assert known.state is told.state, f"the worker has {known.state}, the bucket {told.state}"
        if self.reset and known.state is not State.CLOSED:
            assert known.opened >= self.reset - 0.001, "it was reset, and a failure from before opened it again"

    async def record(self) -> Entry | None:
        return await bucket.entry(self.real, NAME)

    # ---- the end

    async def heal(self) -> None:
        """All workers connect and finish their calls: then all agree, and as the service works, the breaker closes within a wait and a lease."""
        for worker in self.workers:
            worker.link.away = False
            for task in worker.tasks:
                task.cancel()
            await asyncio.gather(*worker.tasks, return_exceptions=True)
            worker.tasks.clear()
            if self.chance.random() < 0.5:  # otherwise its probe ended with it
                for guard in worker.calls:
                    guard.exited(asyncio.CancelledError())
            elif worker.calls:
                await self.die(worker)
        self.story.append("healed")
        for _ in range(5):
            await self._all_share()
        assert not any(worker.breakers.ledger.unwritten for worker in self.workers), "a worker never finishes its writes"
        states = {worker.breaker.state for worker in self.workers if worker.breaker.opened}
        found = await self.record()
        assert found is None or states <= {found.record.state}, f"{states} here, in the bucket {found.record.state}"
        self.clock.now += max(MOST, LEASE)
        for worker in self.workers * 2:  # a worker that finds the name evicted is refused once more
            worker.calls.clear()
            await self._call(worker)
            for guard in worker.calls:
                guard.exited(None)
            await self._all_share()
            self.clock.now += one.PROBE_WAIT_SECONDS
        await self._all_share()
        assert {worker.breaker.state for worker in self.workers} == {State.CLOSED}, "the service works, and the breaker is not closed"

    async def _all_share(self) -> None:
        for worker in self.workers:
            await worker.breakers.sharing.share()


@asynccontextmanager
async def bus_of(settings: FleetSettings) -> AsyncIterator[Bus]:
    async with connection.connection(settings, "test") as opened:
        await until(lambda: opened.connected)
        yield opened


async def test_whatever_gets_lost_or_comes_late(nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    chance, clock = dice(), Clock()
    monkeypatch.setattr(bucket, "BUCKET_TIMEOUT_SECONDS", 60.0)  # a request that the test delays is not an outage
    monkeypatch.setattr(sharing, "SYNC_TIMEOUT_SECONDS", 60.0)
    settings = FleetSettings(postgres_url="x", nats_url=nats.url)
    steps = probes = 0
    async with bus_of(settings) as real:
        await topology.ensure(real, settings, [])
        for run in range(RUNS):
            await real.jetstream().purge_stream(subjects.BREAKERS_STREAM)
            fleet = Fleet(random.Random(chance.random()), real, clock, settings)  # noqa: S311
            try:
                await fleet.run(STEPS)
                await fleet.heal()
            except BaseException:
                print(f"run {run}", *fleet.story, sep="\n  ")
                raise
            steps, probes = steps + len(fleet.story), probes + fleet.probes
    assert probes > RUNS // 4
    figures("the breakers against their rules", runs=RUNS, steps=steps, probes=probes)
