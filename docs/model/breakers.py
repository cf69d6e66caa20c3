"""Walks through the model of `sharing.py`: the scenarios in which its rules hold, and for each rule the one that notices when it is left out.

python docs/model/breakers.py               # the scenarios (seconds; `all` adds the large ones: minutes)
python docs/model/breakers.py mutations     # leave a rule out: what must break breaks (name some to try only those)
python docs/model/breakers.py show NAME     # a mutation with its (shortest, for safety) counterexample
"""

import sys

from sharing import Breakers, Scenario
from walk import Report, Walk

MOST = 20_000_000  # states

SCENARIOS = {
    "an answer is lost": Scenario(faults=1, failures=1, resets=0, kinds=("lost",)),
    "a reset": Scenario(faults=0, failures=1, resets=1),
    "a name is forgotten": Scenario(faults=1, failures=1, resets=0, kinds=("forget",)),
}
LARGE = {
    "a worker dies": Scenario(faults=1, failures=1, resets=0, kinds=("die",)),
    "an ask is cancelled": Scenario(faults=1, failures=1, resets=0, kinds=("cancel",)),
    "the bucket is wiped": Scenario(faults=1, failures=1, resets=0, kinds=("wipe",)),
    "any fault": Scenario(faults=1, failures=1, resets=0),
    "a reset and any fault": Scenario(faults=1, failures=1, resets=1),
    "two failures": Scenario(faults=0, failures=2, resets=1),
    "two faults of links": Scenario(faults=2, failures=1, resets=0, kinds=("lost", "away", "cancel")),
    "two deaths or lost writes": Scenario(faults=2, failures=1, resets=0, kinds=("lost", "die")),
}

# the rule left out: scenario, and what must happen
MUTATIONS = {
    "compare and set": ("a reset", "closes the record without"),
    "leases are waited for": ("a reset", "writes over the probe"),
    "leases end": ("a worker dies", "stuck"),
    "a reset bumps": ("a reset", "nothing to tell"),
    "closings have a time": ("a reset", "opens the record again"),
    "trips stand": ("an answer is lost", "closes without"),
    "unknown is not done": ("an answer is lost", "nothing to tell"),
    "what came up meanwhile": ("an answer is lost", "nothing to tell"),
    "a refused probe looks again": ("a name is forgotten", "stuck"),
    "handed back": ("an ask is cancelled", "nothing to tell"),
    "unknown is not refused": ("an answer is lost", "nothing to tell"),
    "told again": ("the bucket is wiped", ""),  # who is open learns it from who asks or registers
}


def line(name: str, report: Report, *, good: bool) -> None:
    print(
        f"{'ok ' if good else 'BAD'} {report.states:>9,} states {report.edges:>10,} steps {report.seconds:6.1f} s  {name}: {report.broken or 'holds'}",
        flush=True,
    )


def main(words: list[str]) -> int:
    bad = 0
    if words[:1] == ["mutations"]:
        for name in words[1:] or MUTATIONS:
            where, expected = MUTATIONS[name]
            report = Walk(Breakers((SCENARIOS | LARGE)[where], frozenset({name})), MOST).run()
            good = expected in report.broken if expected else not report.broken
            bad += not good
            line(name, report, good=good)
        return bad
    if words[:1] == ["show"]:
        report = Walk(Breakers((SCENARIOS | LARGE)[MUTATIONS[words[1]][0]], frozenset({words[1]})), MOST).run()
        print(report.broken or "holds", *report.trace, sep="\n  ")
        return 0
    for name, scenario in (SCENARIOS | (LARGE if words[:1] == ["all"] else {})).items():
        report = Walk(Breakers(scenario), MOST).run()
        bad += bool(report.broken)
        line(name, report, good=not report.broken)
        print(*(f"      {step}" for step in report.trace), sep="\n", end="\n" if report.trace else "")
    return bad


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
