"""The command line of a model: its scenarios, its mutations, and the way to a counterexample."""

from collections.abc import Callable, Mapping
from typing import Any

from walk import Model, Report, Walk

STATE_LIMIT = 20_000_000

MakeModel = Callable[[Any, frozenset[str]], Model]


def line(name: str, report: Report, *, good: bool) -> None:
    print(
        f"{'ok ' if good else 'BAD'} {report.states:>9,} states {report.edges:>10,} steps {report.seconds:6.1f} s  {name}: {report.broken or 'holds'}",
        flush=True,
    )


def main(words: list[str], model: MakeModel, scenarios: Mapping[str, Any], large: Mapping[str, Any], mutations: Mapping[str, tuple[str, str]]) -> int:
    """Returns how many lines are bad. `mutations`: the rule that is left out, its scenario, and a part of the expected failure ("": it holds)."""
    every = {**scenarios, **large}
    if words[:1] == ["mutations"]:
        return sum(_mutation(name, model, every, mutations) for name in words[1:] or mutations)
    if words[:1] == ["show"]:
        report = Walk(model(every[mutations[words[1]][0]], frozenset({words[1]})), STATE_LIMIT).run()
        print(report.broken or "holds", *report.trace, sep="\n  ")
        return 0
    bad = 0
    for name, scenario in (every if words[:1] == ["all"] else scenarios).items():
        report = Walk(model(scenario, frozenset()), STATE_LIMIT).run()
        bad += bool(report.broken)
        line(name, report, good=not report.broken)
        print(*(f"      {step}" for step in report.trace), sep="\n", end="\n" if report.trace else "")
    return bad


def _mutation(name: str, model: MakeModel, scenarios: Mapping[str, Any], mutations: Mapping[str, tuple[str, str]]) -> bool:
    where, expected = mutations[name]
    report = Walk(model(scenarios[where], frozenset({name})), STATE_LIMIT).run()
    good = expected in report.broken if expected else not report.broken
    line(name, report, good=good)
    return not good
