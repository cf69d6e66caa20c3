"""What `just bench` measures: each program, its arguments, the figures in its JSON line, and their targets. Pure.

The targets come from docs/promises.md and bench/RESULTS.md. A figure that is missing in the line raises KeyError, so that a renamed key is noticed.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Line = Mapping[str, Any]
"""What a program printed: one JSON line."""

HOLDS: Final[Mapping[str, Callable[[float, float], bool]]] = {"≥": operator.ge, "≤": operator.le, "<": operator.lt}


class Verdict(StrEnum):
    UNASKED = ""
    MET = "met"
    SO_FAR = "met so far"  # with fewer rows than the target asks for
    MISSED = "missed"


@dataclass(frozen=True)
class Asked:
    relation: str
    limit: float
    size: int = 0
    """The number of rows that the target is for; a run with fewer can miss it, but not meet it."""


@dataclass(frozen=True)
class Figure:
    what: str
    value: float
    unit: str
    asked: Asked | None = None
    size: int = 0
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        if self.asked is None:
            return Verdict.UNASKED
        if not HOLDS[self.asked.relation](self.value, self.asked.limit):
            return Verdict.MISSED
        return Verdict.MET if self.size >= self.asked.size else Verdict.SO_FAR


@dataclass(frozen=True)
class Call:
    """A file of bench/, its arguments, and roughly how many seconds it takes."""

    arguments: tuple[str, ...]
    seconds: int

    @property
    def command(self) -> str:
        script, *others = self.arguments
        return " ".join(("uv run python", f"bench/{script}", *others))


@dataclass(frozen=True)
class Program:
    name: str
    about: str
    figures: Callable[[Line], Iterator[Figure]]
    usual: Call
    full: Call | None = None
    """The call for `--full`, if it is another one."""

    def call(self, *, full: bool) -> Call:
        return self.full if full and self.full else self.usual


WORKER_MB: Final = Asked("<", 120)
API_MB: Final = Asked("<", 150)
LIST_MS: Final = Asked("<", 200, size=5_000_000)
WAITING_KEPT: Final = Asked("≥", 80, size=1_000_000)
FINISHED_KEPT: Final = Asked("≥", 85, size=5_000_000)
STALL_MS: Final = 1000
"""Small tasks next to large ones have stalled when they need a second."""


def submit(line: Line) -> Iterator[Figure]:
    yield Figure(f"POST /api/tasks/batch, {line['batch']} tasks each", line["submit_per_s"], "tasks/s", Asked("≥", 25_000))
    yield Figure(f"POST /api/tasks, {line['connections']} connections", line["post_per_s"], "tasks/s", Asked("≥", 3_500))
    yield Figure("response time, p50", line["post_ms"]["p50"], "ms")
    yield Figure("response time, p99", line["post_ms"]["p99"], "ms")


def ingest(line: Line) -> Iterator[Figure]:
    yield Figure("messages published to NATS become tasks", line["ingest_per_s"], "tasks/s")
    yield Figure("beside the rate of single POSTs of the same run", line["ratio"], "times", Asked("≥", 2))


def client(line: Line) -> Iterator[Figure]:
    yield Figure("by Client.submit", line["client_post_per_s"], "tasks/s")
    yield Figure("beside bare single POSTs of the same run", line["client_to_post"], "times", Asked("≥", 0.8))
    yield Figure("by Client.submit_many", line["client_batch_per_s"], "tasks/s")
    yield Figure("beside bare batches of the same run", line["client_to_batch"], "times", Asked("≥", 0.9))


def drain(line: Line) -> Iterator[Figure]:
    yield Figure(f"no-op tasks, {line['concurrency']:,} slots", line["drain_per_s"], "tasks/s", Asked("≥", 20_000))
    yield Figure("CPU of the worker", line["worker_cpu_us_per_task"], "µs/task")
    yield Figure("peak memory of the worker", line["worker_peak_mb"], "MB", WORKER_MB)


def latency(line: Line) -> Iterator[Figure]:
    asked = {"p50": Asked("≤", 4), "p95": None, "p99": Asked("≤", 20)}
    for name, limit in asked.items():
        yield Figure(f"POST to handler at {line['rate']}/s, {name}", line["start_ms"][name], "ms", limit)


def idle(line: Line) -> Iterator[Figure]:
    yield Figure("CPU of all processes", line["idle_cpu_percent"], "% of a core", Asked("<", 3))
    yield Figure("memory of the API", line["memory_mb"]["api"], "MB", API_MB)
    yield Figure("memory of a worker", line["memory_mb"]["worker"], "MB", WORKER_MB)


def mixed(line: Line) -> Iterator[Figure]:
    off = max(abs(line["shares"][lane] / share - 1) for lane, share in line["shares_asked"].items())
    yield Figure("slots in use", line["utilisation"] * 100, "%")
    yield Figure("handlers started", line["tasks_per_s"], "/s")
    yield Figure("largest deviation of a lane from 1:3:5:10", off * 100, "%", Asked("≤", 10))
    yield Figure("peak memory of the worker", line["worker_peak_mb"], "MB", WORKER_MB)


def workers(line: Line) -> Iterator[Figure]:
    for number, found in line["workers"].items():
        yield Figure(f"drain by {number} worker process{'' if number == '1' else 'es'}", found["drain_per_s"], "tasks/s")


def waiting(line: Line) -> Iterator[Figure]:
    yield from drains(line["waiting"], "waiting tasks", WAITING_KEPT)


def finished(line: Line) -> Iterator[Figure]:
    yield from drains(line["finished"], "finished rows", FINISHED_KEPT)
    size = max(map(int, line["finished"]))
    for key, listings in line.items():
        if key.startswith("lists_ms"):
            beside = " ".join(key.split("_")[2:])
            yield slowest(f"the same {beside}" if beside else f"slowest of {len(listings)} lists, p95", listings, size)
    yield Figure("peak memory of the API", line["api_peak_mb"], "MB", API_MB)


def drains(by_size: Line, of_what: str, kept: Asked) -> Iterator[Figure]:
    """The rate at each size; at the largest one also its rate relative to the smallest, its cost and its memory."""
    sizes = sorted(by_size, key=int)
    for size in sizes:
        yield Figure(f"drain with {int(size):,} {of_what}", by_size[size]["drain_per_s"], "tasks/s")
    least, most = by_size[sizes[0]], by_size[sizes[-1]]
    if len(sizes) > 1:
        rate = most["drain_per_s"] / least["drain_per_s"] * 100
        yield Figure(f"rate at {int(sizes[-1]):,}, relative to {int(sizes[0]):,}", rate, "%", kept, int(sizes[-1]))
    yield Figure("CPU of worker and Postgres at the largest size", most["worker_cpu_us_per_task"] + most["postgres_cpu_us_per_task"], "µs/task")
    yield Figure("peak memory of a worker", max(each["worker_peak_mb"] for each in by_size.values()), "MB", WORKER_MB)


def slowest(what: str, listings: Line, size: int) -> Figure:
    p95 = {name: found["p95"] for name, found in listings.items()}
    refused = [name for name, found in listings.items() if found.get("statuses", [200]) != [200]]
    if refused:
        raise ValueError(f"some calls were not answered with 200: {', '.join(refused)}")
    missed = ", ".join(f"{name} {value:,.0f} ms" for name, value in p95.items() if value >= LIST_MS.limit)
    return Figure(what, max(p95.values()), "ms", LIST_MS, size, f"missed by {missed}" if missed else "")


def payloads(line: Line) -> Iterator[Figure]:
    rate = line["large_rate"]
    yield Figure(f"1 MiB payloads accepted, {rate}/s sent", line["large_per_s"], "/s", Asked("≥", 100) if rate >= 100 else None)
    yield Figure("of these, completed", line["large_completed_per_s"], "/s", Asked("≥", 100) if rate >= 100 else None)
    yield Figure("small tasks alone, POST to handler, p99", line["without"]["start_ms"]["p99"], "ms")
    yield Figure("small tasks next to large ones, p50", line["with"]["start_ms"]["p50"], "ms")
    yield Figure("small tasks next to large ones, p99", line["with"]["start_ms"]["p99"], "ms", Asked("<", STALL_MS))
    yield Figure("peak memory of the API", line["with"]["api_peak_mb"], "MB", API_MB)
    yield Figure("peak memory of the worker", line["with"]["worker_peak_mb"], "MB", WORKER_MB)


def snapshots(line: Line) -> Iterator[Figure]:
    yield Figure(f"no-op tasks under an old snapshot, after {line['tasks']:,}", line["under_per_s"], "tasks/s")
    yield Figure("of the rate without one", 100 * line["kept"], "%", Asked("≥", 85, size=640_000), line["tasks"])


def loss(line: Line) -> Iterator[Figure]:
    kind = "one process of a parent" if line["parent"] else "a worker"
    yield Figure(
        f"{kind} killed, {line['tasks']} tasks of {line['seconds']:g} s in flight: all done after", line["done_s"], "s", Asked("≤", 8 if line["parent"] else 25)
    )
    yield Figure("claims in vain, for each lost task", line["claims_in_vain_per_loss"], "")


PROGRAMS: Final = (
    Program("submit", "one API process accepts tasks, in batches and one by one", submit, Call(("submit.py", "--tasks", "100000", "--posts", "20000"), 20)),
    Program("ingest", "one API process ingests messages that were published to NATS", ingest, Call(("ingest.py", "--rounds", "3"), 60)),
    Program("client", "the Python client beside bare requests", client, Call(("client.py",), 60)),
    Program("drain", "one worker process runs 100,000 waiting tasks", drain, Call(("drain.py", "--tasks", "100000"), 20)),
    Program("latency", "from a POST to the first line of the handler", latency, Call(("latency.py", "--rate", "200"), 30)),
    Program("idle", "what an idle waggle up costs", idle, Call(("idle.py", "--seconds", "30"), 50)),
    Program("mixed", "handlers of 1 to 50 ms, failures, retries, all priorities; 40,000 tasks", mixed, Call(("mixed.py", "--tasks", "40000"), 40)),
    Program("workers", "a drain by 1, 2 and 4 worker processes", workers, Call(("scale.py", "workers", "--workers", "1,2,4"), 50)),
    Program("waiting", "a drain while 10,000 to 1,000,000 tasks wait", waiting, Call(("scale.py", "waiting", "--waiting", "10000,100000,1000000"), 120)),
    Program(
        "finished",
        "a drain, and lists, with 1,000,000 finished rows (--full: 5,000,000)",
        finished,
        Call(("scale.py", "finished", "--finished", "0,1000000"), 150),
        Call(("scale.py", "finished", "--finished", "0,1000000,5000000"), 720),
    ),
    Program(
        "snapshots",
        "tasks run while somebody holds an old snapshot",
        snapshots,
        Call(("snapshots.py", "--tasks", "160000", "--rounds", "2"), 60),
        Call(("snapshots.py",), 150),
    ),
    Program("loss", "a worker process is killed with 100 tasks in flight", loss, Call(("loss.py", "--tasks", "100", "--seconds", "2"), 40)),
    Program("payloads", "small tasks next to 110 payloads of 1 MiB a second", payloads, Call(("scale.py", "payloads", "--large", "110"), 80)),
)

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {"scale": ("workers", "waiting", "finished", "payloads")}
"""Names that stand for several programs."""

APART: Final[Mapping[str, str]] = {
    "soak": "checks that memory stays flat over twenty minutes: `just soak`",
    "access": "compares an API that asks for keys, and limits their rates, with one that does not",
    "peers": "runs pgqueuer and BullMQ beside Waggle; needs npm and redis-server",
}
"""Programs that are not in the table, and what they do."""
