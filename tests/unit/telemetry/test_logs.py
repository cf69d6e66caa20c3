"""A log call never raises, whatever it is given, and no configuration of the user's silences Waggle's lines."""

import json
import subprocess
import sys
from typing import Any

import pytest

ABOVE = """
import logging
import logging.config
import sys

import structlog

from waggle import failpoint, loops
from waggle.telemetry import logs

class Breaks:
    def __str__(self):
        raise ValueError("no text")
    __repr__ = __str__

circle = []
circle.append(circle)
logs.configure("worker", "info", sys.argv[1])
log = loops.log  # one of Waggle's own
standard = logging.getLogger("shop")
"""
ODD = {
    "a value without a text": "Breaks()",
    "a circle": "circle",
    "a key that is no text": "{(1, 2): 3}",
    "a key without a text": "{Breaks(): 1}",
    "half of a surrogate pair": "'\\ud800'",
    "a long text": "'x' * 1_000_000",
    "a long list": "['x'] * 1_000_000",
    "deep": "__import__('functools').reduce(lambda inner, _: [inner], range(100_000), [])",
}


def logged(code: str, form: str = "json") -> list[dict[str, Any]]:
    """The lines of a process that runs this."""
    ran = subprocess.run([sys.executable, "-c", ABOVE + code, form], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return [json.loads(line) if form == "json" else {"event": line} for line in ran.stdout.splitlines()]


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("value", ODD.values(), ids=list(ODD))
def test_a_value_that_cannot_be_shown_is_one_line(value: str, form: str) -> None:
    code = f"value = {value}\nlog.info('odd', value=value)\nstandard.warning('odd')\nlog.info(value)\nstandard.warning('%s', value)"
    lines = logged(code, form)
    assert len(lines) == 4
    assert all(len(str(line)) < 70_000 for line in lines)


def test_a_call_that_does_not_fit_is_one_line() -> None:
    lines = logged("log.info('a %d', 'x')\nlog.info('b', event=1, self=2)\nlog.info('100%')\nstandard.warning('%d', 'x')")
    assert [line["event"] for line in lines] == ["a %d x", "b", "100%", "%d x"]


def test_the_standard_logger_has_the_level_of_the_log_and_libraries_of_waggle_only_warn() -> None:
    lines = logged("standard.info('sold', extra={'price': 3})\nstandard.debug('not this')\nlogging.getLogger('asyncio').info('nor this')")
    assert [(line["event"], line["level"], line["logger"], line["service"], line["price"]) for line in lines] == [("sold", "info", "shop", "worker", 3)]


@pytest.mark.parametrize(
    "configured",
    [
        "structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory(), wrapper_class=structlog.make_filtering_bound_logger(50))",
        "logging.basicConfig(level=logging.CRITICAL, force=True)",
        "logging.config.dictConfig({'version': 1, 'root': {'level': 'CRITICAL'}})",
        "logging.disable()",
    ],
)
def test_no_configuration_silences_waggle(configured: str) -> None:
    assert [line["event"] for line in logged(f"{configured}\nlog.info('still here')")] == ["still here"]


def test_a_configuration_of_the_users_is_theirs() -> None:
    theirs = "structlog.configure(processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.PrintLoggerFactory(sys.stdout))"
    ran = subprocess.run([sys.executable, "-c", f"{ABOVE}{theirs}\nstructlog.get_logger().info('mine')", "json"], capture_output=True, text=True, check=True)
    assert ran.stdout == "event='mine'\n"
