"""`just bench`: runs the benchmarks one after the other and prints a table of their figures."""

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.status import Status
from rich.text import Text

import machine
from measures import APART, GROUPS, PROGRAMS, Program, Verdict
from page import Findings, document, page
from running import Run, obey, run
from waggle_cli.views import show

FAILED, MISSED, INTERRUPTED = 1, 3, 130
PIPED_WIDTH: Final = 120

ABOUT: Final = """\
Runs the benchmarks one after the other and prints one table: each figure with its target, below the command that repeats it. Every program starts
servers and services of its own, and keeps nothing.

Nothing else should use the machine during the run. The table says how busy it was at the start, and how many cores other programs used.
"""


def ending() -> str:
    lines = ["names:"]
    for program in PROGRAMS:
        lines.append(f"  {program.name:<10} {program.about} ({lasting(program.usual.seconds)})")
    lines += [f"  {name:<10} {', '.join(parts)}" for name, parts in GROUPS.items()]
    lines += ["", "not included:", *(f"  {name:<10} {why}" for name, why in APART.items())]
    usual, full = seconds(PROGRAMS, full=False), seconds(PROGRAMS, full=True)
    return "\n".join(
        [
            *lines,
            "",
            f"Without names, all of them run: {lasting(usual)}; with --full {lasting(full)}, and about 8 GB in the temporary folder.",
            "A run with fewer rows than a target asks for can miss it, but not meet it; the table then says `met so far`.",
            "",
            "Progress goes to standard error; the table or the JSON goes to standard output. Ctrl-C ends the running program and prints what was measured.",
            "To run one program with other sizes: uv run python bench/drain.py --help",
            "",
            "exit codes:",
            "  0    every program ran to its end (a missed target is no failure: a machine has slow hours)",
            f"  {FAILED}    a program failed; its error is in the table, and the others ran",
            "  2    wrong usage",
            f"  {MISSED}    with --strict: a target was missed",
            f"  {INTERRUPTED}  interrupted",
            "",
            "examples:",
            "  just bench                        all of them, in the usual sizes",
            "  just bench drain latency          two of them",
            "  just bench --json figures.json    the table, and everything as JSON in a file",
            "  just bench -o json | jq '.programs[].figures[]'",
            "  just bench --full --strict        the promised sizes; exit code 3 if a target is missed",
        ]
    )


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="just bench", description=ABOUT, epilog=ending(), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", type=named, metavar="NAME", help="which to run (default: all)")
    parser.add_argument("--full", action="store_true", help="full sizes: the lists and a drain at five million finished rows")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="what to print (default: table)")
    parser.add_argument("--json", type=writable, metavar="FILE", help="also write the JSON to a file")
    parser.add_argument("--strict", action="store_true", help=f"exit code {MISSED} if a target is missed")
    return parser.parse_args(words)


def named(text: str) -> tuple[Program, ...]:
    """The programs with this name, or of this group."""
    there: dict[str, tuple[Program, ...]] = {program.name: (program,) for program in PROGRAMS}
    there |= {group: tuple(program for program in PROGRAMS if program.name in parts) for group, parts in GROUPS.items()}
    if text in there:
        return there[text]
    close = difflib.get_close_matches(text, there, 1)
    raise argparse.ArgumentTypeError(f"no benchmark {text!r}" + (f"; did you mean {close[0]!r}?" if close else f"; choose from {', '.join(there)}"))


def writable(text: str) -> Path:
    """Fail now, not after ten minutes, if the file cannot be written."""
    path = Path(text)
    try:
        path.touch()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}") from error
    return path


def seconds(programs: Sequence[Program], *, full: bool) -> int:
    return sum(program.call(full=full).seconds for program in programs)


def lasting(span: float) -> str:
    return f"about {span / 60:.0f} minutes" if span >= 100 else f"about {span:.0f} s"


def main() -> int:
    options = arguments()
    wanted = {program for programs in options.names for program in programs}
    chosen = [program for program in PROGRAMS if not wanted or program in wanted]
    obey()
    began, load = datetime.now(UTC), machine.load()
    runs: list[Run] = []
    code = 0
    try:
        work(chosen, runs, full=options.full, load=load)
    except KeyboardInterrupt:
        code = INTERRUPTED
    found = Findings(began, options.full, machine.cpu(), machine.memory_gb(), load, machine.versions(), runs)
    hand_out(found, options.output, options.json)
    return code or exit_code(found, strict=options.strict)


def work(chosen: Sequence[Program], runs: list[Run], *, full: bool, load: machine.Load) -> None:
    """Run them and show the progress."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    left = seconds(chosen, full=full)
    ends = datetime.now().astimezone() + timedelta(seconds=left)
    console.print(f"{', '.join(program.name for program in chosen)}: {lasting(left)}, until {ends:%H:%M}")
    if load.warning:
        console.print(Text(f"! {load.warning}", style="yellow"))
    for number, program in enumerate(chosen, 1):
        expected = program.call(full=full).seconds
        place = f"{number} of {len(chosen)}  {program.name}"
        with console.status(place) as status:
            done = run(program, full=full, on_progress=partial(show_progress, status, f"{place}  %.0f s of about {expected}"))
        runs.append(done)
        how = Text("failed", style="bold red") if done.error else Text("done", style="green")
        console.print(Text.assemble(f"{place}  ", how, f" after {done.seconds:.0f} s"))
    console.print()


def show_progress(status: Status, line: str, so_far: float) -> None:
    status.update(line % so_far)


def hand_out(found: Findings, output: str, file: Path | None) -> None:
    text = json.dumps(document(found), ensure_ascii=False)
    if file:
        file.write_text(text + "\n")
    if output == "json":
        show.write(text.encode() + b"\n")
        return
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPED_WIDTH)
    console.print(page(found, console.width))


def exit_code(found: Findings, *, strict: bool) -> int:
    if found.failed:
        return FAILED
    return MISSED if strict and found.verdicts[Verdict.MISSED] else 0


if __name__ == "__main__":
    sys.exit(main())
