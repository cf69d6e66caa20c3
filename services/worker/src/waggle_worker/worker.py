"""A worker: how its parts are joined, what it does at its start, at a lost lease and at its stop."""

import asyncio

import asyncpg
import msgspec
import structlog
from nats.aio.msg import Msg

from waggle import retry
from waggle.app import Handler
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.loops import Looks, wait_for
from waggle.service import Service
from waggle.settings.services import WorkerSettings
from waggle.store import catalogue, postgres
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_worker import handlers, layers, metrics
from waggle_worker.ahead import Ahead
from waggle_worker.attempt_log import LogLimits
from waggle_worker.claims import Claims
from waggle_worker.cleanups import Cleanups
from waggle_worker.cut_off import CutOff, Pulse
from waggle_worker.emitting import Emitter
from waggle_worker.execution import STUBBORN_SECONDS
from waggle_worker.lanes import Lanes
from waggle_worker.lease import Lease
from waggle_worker.misfits import Misfits
from waggle_worker.pauses import Pauses
from waggle_worker.payloads import PAYLOADS_AT_ONCE, Payloads
from waggle_worker.processes.children import HandlerProcesses
from waggle_worker.protect.breakers import Breakers
from waggle_worker.reconcile import reconcile
from waggle_worker.runs import Runs
from waggle_worker.settler import Settler
from waggle_worker.window import Window

log = structlog.get_logger()

LOST_SHARE = 0.5  # of the slots, with handlers that do not end: from then on the process is to be replaced
LOST_LOOK_SECONDS = 1.0


class Worker:
    """Its parts, each made from those before it, and its life: open, start, drain."""

    def __init__(self, settings: WorkerSettings, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, found: handlers.Handlers, queues: list[str]) -> None:
        self._settings, self._pool, self._bus, self._handlers, self._queues = settings, pool, bus, found, queues
        wake_claims, hooks_due = asyncio.Event(), asyncio.Event()
        self._types = [_announced(handler) for handler in found.values()]
        self.lease = Lease(pool, settings, queues, {each.name: each.version for each in self._types})
        self.settler = Settler(pool, bus, found, hooks_due)
        self.misfits = Misfits(pool, self.settler, {each.name: each.schema for each in self._types})
        self.processes = HandlerProcesses(settings, {each.name: each.version for each in self._types if found[each.name].process})
        self.breakers = Breakers(bus, settings)
        window = Window(lambda fence: self.settler.holds(fence) or self.payloads.holds(fence) or self.ahead.holds(fence))

        def slot_freed() -> None:
            self.claims.slot_freed()

        log_limits = LogLimits(settings.attempt_log_lines, settings.attempt_log_bytes)
        emitter = Emitter(bus, asyncio.get_running_loop())
        slots, covers = settings.concurrency, self.lease.covers
        self.runs = Runs(
            found,
            self.settler,
            self.misfits,
            slots,
            self.processes,
            self.breakers,
            window,
            covers,
            slot_freed,
            hooks_due,
            log_limits,
            emitter,
        )
        self.payloads = Payloads(pool, self.lease, self.runs, self.settler, slot_freed)
        self.ahead = Ahead(self.lease, self.runs, self.payloads, self.settler)
        self.lanes = Lanes(bus, queues, rang=wake_claims.set)
        self.claims = Claims(pool, self.lanes, self.lease, self.runs, self.payloads, self.ahead, self.settler, wake_claims)
        self.cleanups = Cleanups(pool, self.lease, found, self.runs, self.claims, hooks_due)
        self.pulse, self._looks = Pulse(settings.lease), Looks()
        self.cut_off = CutOff(pool, self.pulse)
        self.pauses = Pauses(pool, self.claims, queues)
        self.is_worn_out = False

    @property
    def left(self) -> int:
        """Handlers and hooks that have not ended."""
        return self.runs.running + self.cleanups.in_threads

    async def open(self) -> None:
        """Announce what this worker can do, take a lease, listen to the lanes. Waits for Postgres."""
        await postgres.wait_until_migrated(self._pool)
        metrics.start(self._handlers, self._queues, self._settings.concurrency, self.cleanups.hooks)
        await self.lanes.open()
        await self.breakers.sharing.open()
        await self._bus.subscribe(subjects.CONTROL_ALL, self._command)
        while True:
            try:
                await catalogue.announce(self._pool, self._types, self._queues, self.cleanups.hooks)
                await self.pauses.refresh()  # before the first request for doorbells
                await self._take_lease()
                break
            except POSTGRES_OUTAGE as error:
                log.warning("cannot register yet", error=str(error) or type(error).__name__)
                await asyncio.sleep(0.5)

    def start(self, svc: Service[WorkerSettings]) -> None:
        svc.start("lease", self.lease.keep(lambda: self.runs.running, self._beat, self._lost))
        svc.start("pulse", self.pulse.loop())
        svc.start("settler", self.settler.loop())
        svc.start("misfits", self.misfits.loop())
        for number in range(PAYLOADS_AT_ONCE):
            svc.start(f"payloads {number}", self.payloads.loop())
        svc.start("claims", self.claims.loop())
        svc.start("breakers", self.breakers.sharing.loop())
        svc.start("cleanups", self.cleanups.loop())
        svc.start("pauses", self.pauses.keep(svc.stopping))
        svc.start("lost slots", self._watch_slots(svc.stopping))
        log.info("serving", queues=self._queues, types=len(self._handlers), concurrency=self._settings.concurrency)

    async def drain(self, grace: float) -> None:
        """Finish what ends within `grace` seconds, give the rest back without cost, end the lease."""
        self.lease.drain()
        self.cleanups.drain()
        await self.claims.close()
        self.payloads.drain()
        self.ahead.give_back()
        self.runs.drain()
        if not await self._all_ended(grace):
            log.warning("grace period over", count=self.runs.running + self.cleanups.running)
            self.runs.give_back()
            self.payloads.give_back()
            self.cleanups.give_back()
            await self._all_ended(STUBBORN_SECONDS)
            self.runs.insist()
        await self.processes.close()
        await self.breakers.sharing.close()
        if await wait_for(self.settler.idle, STUBBORN_SECONDS):
            try:
                await self.lease.leave()
            except POSTGRES_OUTAGE as error:
                log.warning("lease not ended, it will expire", error=str(error) or type(error).__name__)
        metrics.NOTED.flush(layers.SPENT.take())
        log.info("drained", left=self.runs.running)

    async def _watch_slots(self, stopping: asyncio.Event) -> None:
        """Stop when so many handlers do not end that another process serves better; its parent or its supervisor starts that."""
        while True:
            lost, slots = self.runs.lost, self._settings.concurrency
            metrics.SLOTS_LOST.set(lost)
            if lost >= slots * LOST_SHARE and not stopping.is_set():
                log.error("too many handlers do not end, this process ends to be replaced", lost=lost, slots=slots)
                self.is_worn_out = True
                stopping.set()
            await asyncio.sleep(LOST_LOOK_SECONDS)

    async def _all_ended(self, seconds: float) -> bool:
        """Wait until no run is open and no hook runs."""
        end = asyncio.get_running_loop().time() + seconds
        while self.runs.attempts or self.claims.under_way or self.cleanups.running:
            if asyncio.get_running_loop().time() >= end:
                return False
            await asyncio.sleep(0.01)
        return True

    async def _beat(self) -> None:
        with self._looks.look() as back:
            if back is None:
                await reconcile(self._pool, self.lease, self._settings.lease, self.claims, self.runs, self.settler)
                self.claims.compared(self._settings.lease)

    async def _lost(self) -> None:
        """The lease expired: the tasks here belong to others now. Go on under a new id."""
        self.cut_off.note([*self.runs.fences, *self.payloads.fences, *self.ahead.fences], self.settler.fences, self.claims.unanswered)
        self.runs.stop(self.runs.attempts, "lease_lost")
        self.cleanups.give_back()
        await self.cut_off.undo(self.lease.id, self.lease.renewed)
        await self._bus.unsubscribe(subjects.control(self.lease.id))
        await self._bus.unsubscribe(subjects.logs(self.lease.id))
        await self._take_lease()

    async def _take_lease(self) -> None:
        await self.lease.take()
        await self._bus.subscribe(subjects.control(self.lease.id), self._command)
        await self._bus.subscribe(subjects.logs(self.lease.id), self._tell_logs)

    async def _tell_logs(self, message: Msg) -> None:
        """Answer what a running handler has logged until now."""
        try:
            task_id, attempt = subjects.read_logs_request(message.data)
        except msgspec.DecodeError as error:
            log.warning("malformed request for logs ignored", error=str(error))
            return
        await self._bus.publish(message.reply, (self.runs.written(task_id, attempt) or "[]").encode())

    async def _command(self, message: Msg) -> None:
        try:
            command = subjects.read_control_message(message.data)
        except msgspec.DecodeError as error:
            log.warning("malformed control message ignored", error=str(error))
            return
        for task_id, attempt in command.stop:
            self.payloads.stop_task(task_id, attempt)
            self.ahead.stop_task(task_id, attempt)
            self.runs.stop_task(task_id, attempt, "stopped")
        if command.look:
            self.pauses.hint()


def _announced(handler: Handler) -> catalogue.TaskType:
    backoff = None if handler.backoff is None else msgspec.json.encode(retry.shown(handler.backoff)).decode()
    return catalogue.TaskType(handler.name, handler.queue, handler.max_retries, handler.timeout, handler.dead_letter, handler.schema_text, backoff)
