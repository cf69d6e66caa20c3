"""`just bench`: every benchmark is in its table, next to its target; missed targets and failed programs are shown."""

import dataclasses
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import running
import table
from machine import Load
from measures import APART, GROUPS, PROGRAMS, Asked, Call, Figure, Program, Verdict
from page import Findings, document, page
from running import Run

BENCH = Path(running.__file__).parent
DRAIN = {"drain_per_s": 21_310, "concurrency": 1000, "worker_cpu_us_per_task": 29.1, "worker_peak_mb": 51.2}
SIZED = {"drain_per_s": 22_000.0, "worker_cpu_us_per_task": 29.0, "postgres_cpu_us_per_task": 27.0, "worker_peak_mb": 59.0, "rounds": [22_000, 22_000]}
LISTS = {"newest": {"p50": 1.8, "p95": 2.9}, "type (no task)": {"p50": 90.0, "p95": 120.0}}
PEAKS = {"api_peak_mb": 129.0, "worker_peak_mb": 76.0}
LINES: dict[str, dict[str, Any]] = {
    "submit": {"submit_per_s": 47_557, "post_per_s": 6936, "post_ms": {"p50": 9.0, "p95": 12.1, "p99": 14.2}, "batch": 500, "connections": 64},
    "ingest": {"ingest_per_s": 9_215, "post_per_s": 2_968, "ratio": 3.1},
    "client": {"client_post_per_s": 1_426, "client_to_post": 1.0, "client_batch_per_s": 10_623, "client_to_batch": 0.73},
    "drain": DRAIN,
    "latency": {"start_ms": {"p50": 2.95, "p95": 4.37, "p99": 6.5}, "rate": 200, "tasks": 4000},
    "idle": {"idle_cpu_percent": 2.86, "memory_mb": {"api": 59.1, "worker": 44.0}},
    "mixed": {
        "utilisation": 0.85,
        "tasks_per_s": 3347,
        "shares": {"low": 0.053, "medium": 0.159, "high": 0.265, "critical": 0.523},
        "shares_asked": {"low": 0.053, "medium": 0.158, "high": 0.263, "critical": 0.526},
        "worker_peak_mb": 55.0,
    },
    "workers": {"workers": {"1": SIZED, "2": SIZED, "4": SIZED}},
    "waiting": {"waiting": {"10000": SIZED, "1000000": SIZED}},
    "finished": {"finished": {"0": SIZED, "5000000": SIZED}, "lists_ms": LISTS, "lists_ms_behind_120000_newer_echo_tasks": LISTS, "api_peak_mb": 72.0},
    "snapshots": {"tasks": 640_000, "without_per_s": 20_000, "under_per_s": 18_000, "kept": 0.9},
    "loss": {"done_s": 19.2, "claims_in_vain_per_loss": 0.0, "tasks": 100, "seconds": 2.0, "parent": False},
    "payloads": {
        "without": {"start_ms": {"p50": 3.7, "p95": 9.7, "p99": 14.7}, **PEAKS},
        "with": {"start_ms": {"p50": 51.0, "p95": 155.0, "p99": 225.0}, **PEAKS},
        "large_per_s": 100.2,
        "large_completed_per_s": 100.1,
        "large_rate": 110,
    },
}
"""A line of each program, as they print them."""


def program(name: str) -> Program:
    return next(program for program in PROGRAMS if program.name == name)


def made(name: str, **changes: object) -> Run:
    """As if the program had printed its line with these changes."""
    line = {**LINES[name], **changes}
    return Run(program(name), program(name).usual, 20.0, 0.0, [line], list(program(name).figures(line)))


def found(*runs: Run, busy: float = 0.0) -> Findings:
    load = Load((busy, 0.1, 0.1), busy, 2)
    return Findings(datetime(2026, 11, 22, 12, 30, tzinfo=UTC), False, "Intel(R) Xeon(R) Processor", 23.5, load, {"Python": "3.11.7", "waggle": "0.1.0"}, runs)


def shown(found: Findings, what: str, width: int = 100) -> str:
    """The line of the table that has this."""
    lines = [line for line in page(found, width).plain.splitlines() if what in line]
    assert len(lines) == 1, lines
    return lines[0]


def script(folder: Path, code: str) -> Program:
    """A benchmark that takes no time."""
    (folder / "quick.py").write_text(code)
    return Program("quick", "", program("drain").figures, Call((str(folder / "quick.py"),), 1))


def test_every_benchmark_that_measures_is_in_the_table() -> None:
    measuring = {file.stem for file in BENCH.glob("*.py") if re.search(r"^from stage import .*\breport\b", file.read_text(), re.M)}
    called = {Path(each.usual.arguments[0]).stem for each in PROGRAMS}
    assert measuring == called | APART.keys()


def test_every_part_of_the_benchmark_of_scale_is_in_the_table() -> None:
    scale = (BENCH / "scale.py").read_text()
    parts = re.findall(r'"(\w+)": \w+', re.search(r"^PARTS\b.*", scale, re.M)[0])  # type: ignore[index]
    assert parts
    assert set(parts) == {each.usual.arguments[1] for each in PROGRAMS if each.usual.arguments[0] == "scale.py"} == set(GROUPS["scale"])


@pytest.mark.parametrize("each", PROGRAMS, ids=lambda each: each.name)
def test_its_figures_stand_below_the_command_that_repeats_them(each: Program) -> None:
    run = made(each.name)
    assert run.figures
    lines = page(found(run), 160).plain.splitlines()
    heading = next(number for number, line in enumerate(lines) if each.usual.command in line)
    for place, figure in enumerate(run.figures, heading + 1):
        assert figure.what in lines[place]
        assert figure.unit in lines[place]


@pytest.mark.parametrize(
    ("name", "what", "target"),
    [
        ("submit", "POST /api/tasks/batch", Asked("≥", 25_000)),
        ("submit", "POST /api/tasks,", Asked("≥", 3_500)),
        ("ingest", "beside the rate", Asked("≥", 2)),
        ("client", "beside bare single", Asked("≥", 0.8)),
        ("client", "beside bare batches", Asked("≥", 0.9)),
        ("drain", "no-op tasks", Asked("≥", 20_000)),
        ("latency", "p50", Asked("≤", 4)),
        ("latency", "p99", Asked("≤", 20)),
        ("idle", "CPU of all processes", Asked("<", 3)),
        ("mixed", "largest deviation", Asked("≤", 10)),
        ("waiting", "rate at 1,000,000", Asked("≥", 80, 1_000_000)),
        ("finished", "rate at 5,000,000", Asked("≥", 85, 5_000_000)),
        ("finished", "slowest of 2 lists", Asked("<", 200, 5_000_000)),
        ("finished", "the same behind 120000", Asked("<", 200, 5_000_000)),
        ("finished", "memory of the API", Asked("<", 150)),
        ("finished", "memory of a worker", Asked("<", 120)),
        ("loss", "all done after", Asked("≤", 25)),
        ("snapshots", "of the rate without one", Asked("≥", 85, size=640_000)),
        ("payloads", "accepted", Asked("≥", 100)),
        ("payloads", "completed", Asked("≥", 100)),
        ("payloads", "memory of the API", Asked("<", 150)),
        ("payloads", "memory of the worker", Asked("<", 120)),
    ],
)
def test_the_targets_are_the_promised_ones(name: str, what: str, target: Asked) -> None:
    assert [figure.asked for figure in made(name).figures if what in figure.what] == [target]


def test_a_target_that_is_met_is_shown_as_met() -> None:
    assert re.search(r"^ +measured +target$", page(found(made("latency")), 100).plain, re.M)
    assert re.search(r"21,310 tasks/s +≥ 20,000 +✓ met$", shown(found(made("drain")), "no-op tasks"))


def test_a_missed_target_is_shown_as_missed() -> None:
    findings = found(made("drain", drain_per_s=19_140))
    assert re.search(r"19,140 tasks/s +≥ 20,000 +✗ missed$", shown(findings, "no-op tasks"))
    assert page(findings, 100).plain.splitlines()[-1] == "2 targets: 1 met, 1 missed"


def test_a_figure_at_its_limit_is_judged_by_the_words_of_the_target() -> None:
    verdicts = [Figure("", 120, "MB", Asked(relation, 120)).verdict for relation in ("<", "≤", "≥")]
    assert verdicts == [Verdict.MISSED, Verdict.MET, Verdict.MET]


def test_a_smaller_run_can_miss_a_target_but_not_meet_it() -> None:
    smaller = {"0": SIZED, "1000000": SIZED}
    assert "✓ so far" in shown(found(made("finished", finished=smaller)), "rate at 1,000,000")
    slow = {"0": SIZED, "1000000": {**SIZED, "drain_per_s": 11_000.0}}
    assert "✗ missed" in shown(found(made("finished", finished=slow)), "rate at 1,000,000")


def test_the_lists_that_miss_their_target_are_named() -> None:
    slow = {**LISTS, "type (no task)": {"p50": 1700.0, "p95": 1741.0}, "newest": {"p50": 1.0, "p95": 201.0}}
    findings = found(made("finished", lists_ms=slow))
    assert re.search(r"1,741 ms +< 200 at 5 M +✗ missed$", shown(findings, "slowest of 2 lists"))
    assert shown(findings, "missed by").strip() == "missed by newest 201 ms, type (no task) 1,741 ms"


def test_a_list_that_was_refused_is_no_figure() -> None:
    with pytest.raises(ValueError, match="newest"):
        made("finished", lists_ms={"newest": {"p50": 1.0, "p95": 1.0, "calls": 30, "statuses": [503]}})


def test_a_program_that_fails_is_shown_with_its_last_words_and_the_others_still_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    failing = script(tmp_path, "print('starting'); raise SystemExit('worker did not start: \\x1b[31mno such file')")
    (tmp_path / "fine").mkdir()
    fine = script(tmp_path / "fine", f"print('''{json.dumps(DRAIN)}''')")
    runs: list[Run] = []
    table.work([failing, fine], runs, full=False, load=found().load)
    findings = found(*runs)
    said = page(findings, 100).plain
    assert re.search(r"^quick  \d s  ✗ failed$", said, re.M)
    assert "exit code 1\n  starting\n  worker did not start: [31mno such file" in said
    assert "✓ met" in said
    assert said.splitlines()[-1] == "failed: quick"
    assert table.exit_code(findings, strict=False) == 1
    assert "1 of 2  quick  failed" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("print('{\"drain_per_second\": 1}')", "unexpected JSON line: KeyError: 'concurrency'"),
        ("print('nothing to say')", "no figures printed\nnothing to say"),
        ("import os; os.kill(os.getpid(), 9)", "exit code -9"),
    ],
)
def test_a_program_whose_figures_are_missing_has_failed(tmp_path: Path, code: str, error: str) -> None:
    assert running.run(script(tmp_path, code), full=False).error == error


def test_a_program_that_hangs_is_ended_and_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "most_seconds", lambda _: 0.2)
    assert running.run(script(tmp_path, "import time; time.sleep(100)"), full=False).error.startswith("still running after")


def test_ctrl_c_lets_the_program_tidy_up(tmp_path: Path) -> None:
    up, tidied = tmp_path / "up", tmp_path / "tidied"
    code = f"import time, pathlib\ntry:\n    pathlib.Path({str(up)!r}).touch(); time.sleep(100)\nfinally: pathlib.Path({str(tidied)!r}).touch()"

    def interrupt(_: float) -> None:
        if up.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        running.run(script(tmp_path, code), full=False, on_progress=interrupt)
    assert tidied.exists()


def test_only_when_asked_a_missed_target_is_an_exit_code() -> None:
    findings = found(made("drain", drain_per_s=19_140))
    assert [table.exit_code(findings, strict=strict) for strict in (False, True)] == [0, 3]
    assert table.exit_code(found(made("drain")), strict=True) == 0


@pytest.mark.parametrize("width", [80, 100, 160])
def test_it_fits_the_terminal_and_every_command_stands_whole_on_its_line(width: int) -> None:
    runs = [dataclasses.replace(made(each.name), others=0.7, call=each.call(full=True)) for each in PROGRAMS]
    lines = page(found(*runs, busy=1.5), width).plain.splitlines()
    assert [line for line in lines if len(line) > max(width, 90 if "uv run" in line else 0)] == []
    assert not [line for line in lines if "…" in line]
    for run in runs:
        assert len([line for line in lines if run.call.command in line]) == 1


def test_other_programs_that_use_the_machine_are_reported() -> None:
    assert "! other programs use 1.5 of 2 cores" in page(found(busy=1.5), 100).plain
    assert "! other programs used 0.7 cores meanwhile" in page(found(dataclasses.replace(made("drain"), others=0.7)), 100).plain
    assert "!" not in page(found(made("drain")), 100).plain


def test_the_json_has_the_lines_as_they_were_printed_and_each_verdict() -> None:
    (program,) = json.loads(json.dumps(document(found(made("drain")))))["programs"]
    assert program["lines"] == [DRAIN]
    assert program["command"] == "uv run python bench/drain.py --tasks 100000"
    assert [figure["verdict"] for figure in program["figures"]] == ["met", "", "met"]


def test_a_name_selects_its_programs_and_a_typo_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert [program.name for programs in table.arguments(["drain", "scale"]).names for program in programs] == ["drain", *GROUPS["scale"]]
    with pytest.raises(SystemExit, match="2"):
        table.arguments(["latensy"])
    assert "did you mean 'latency'?" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_an_error_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        table.arguments(["--json", str(tmp_path / "nowhere" / "figures.json")])
    assert "No such file or directory" in capsys.readouterr().err


def test_the_table_goes_to_standard_output_and_the_json_to_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    findings, file = found(made("drain")), tmp_path / "figures.json"
    table.hand_out(findings, "table", file)
    assert "✓ met" in capsys.readouterr().out
    assert json.loads(file.read_text()) == json.loads(json.dumps(document(findings)))
