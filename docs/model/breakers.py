"""Checks the model in `sharing.py`: the scenarios in which its rules hold, and for each rule the scenario that fails without it.

python docs/model/breakers.py               # the scenarios (seconds; `all` adds the large ones: minutes)
python docs/model/breakers.py mutations     # leave out each rule and check that the model breaks (or only the named rules)
python docs/model/breakers.py show NAME     # a mutation with its (shortest, for safety) counterexample
"""

import sys

from sharing import Breakers, Scenario
from walk import Report, Walk

STATE_LIMIT = 20_000_000

SCENARIOS = {
    "a reply is lost": Scenario(faults=1, failures=1, resets=0, kinds=("lost",)),
    "a reset": Scenario(faults=0, failures=1, resets=1),
    "a name is deleted": Scenario(faults=1, failures=1, resets=0, kinds=("forget",)),
}
LARGE = {
    "a worker dies": Scenario(faults=1, failures=1, resets=0, kinds=("die",)),
    "a request is cancelled": Scenario(faults=1, failures=1, resets=0, kinds=("cancel",)),
    "the bucket is wiped": Scenario(faults=1, failures=1, resets=0, kinds=("wipe",)),
    "any fault": Scenario(faults=1, failures=1, resets=0),
    "a reset and any fault": Scenario(faults=1, failures=1, resets=1),
    "two failures": Scenario(faults=0, failures=2, resets=1),
    "two faults of connections": Scenario(faults=2, failures=1, resets=0, kinds=("lost", "away", "cancel")),
    "two deaths or lost writes": Scenario(faults=2, failures=1, resets=0, kinds=("lost", "die")),
}

# rule that is left out: scenario, expected failure
MUTATIONS = {
    "compare and set": ("a reset", "closes the record without"),
    "waits for leases": ("a reset", "overwrites the probe"),
    "leases end": ("a worker dies", "stuck"),
    "a reset bumps": ("a reset", "nothing to write"),
    "closings have a time": ("a reset", "opens again a record"),
    "trips stand": ("a reply is lost", "closes without"),
    "unknown is not done": ("a reply is lost", "nothing to write"),
    "changed meanwhile": ("a reply is lost", "nothing to write"),
    "a refused probe reads again": ("a name is deleted", "stuck"),
    "released": ("a request is cancelled", "nothing to write"),
    "unknown is not refused": ("a reply is lost", "nothing to write"),
    "written again": ("the bucket is wiped", ""),  # the next request or registration writes it
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
            report = Walk(Breakers((SCENARIOS | LARGE)[where], frozenset({name})), STATE_LIMIT).run()
            good = expected in report.broken if expected else not report.broken
            bad += not good
            line(name, report, good=good)
        return bad
    if words[:1] == ["show"]:
        report = Walk(Breakers((SCENARIOS | LARGE)[MUTATIONS[words[1]][0]], frozenset({words[1]})), STATE_LIMIT).run()
        print(report.broken or "holds", *report.trace, sep="\n  ")
        return 0
    for name, scenario in (SCENARIOS | (LARGE if words[:1] == ["all"] else {})).items():
        report = Walk(Breakers(scenario), STATE_LIMIT).run()
        bad += bool(report.broken)
        line(name, report, good=not report.broken)
        print(*(f"      {step}" for step in report.trace), sep="\n", end="\n" if report.trace else "")
    return bad


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
