"""The log of a service on standard output: one event a line, as JSON or for the console. Lines hold no payloads; ids of tasks and requests are fields.

Waggle's own lines and `ctx.log` do not follow structlog's global configuration nor the standard logger's: a user's module may change both.
"""

import atexit
import logging
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, Final

import structlog

from waggle import (
    context_log,  # noqa: F401  # imported by now, so that `keep_own` finds it
    forked,
)
from waggle.context import KEPT_IN, RUNNING
from waggle.telemetry.log_lines import Line, text
from waggle.telemetry.log_writer import LogWriter
from waggle.telemetry.traces import current

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
PACKAGES: Final = frozenset({"waggle", "waggle_api", "waggle_worker", "waggle_dlq", "waggle_scheduler", "waggle_embedded", "waggle_cli"})
LIBRARIES: Final = ("asyncio", "uvicorn", "nats", "aiohttp", "litestar", "alembic", "sqlalchemy", "asyncpg", "opentelemetry", "urllib3", "tzlocal")
"""What Waggle stands on: of these, only warnings are of interest."""
NUMBERS: Final = {**LEVELS, "warn": logging.WARNING, "exception": logging.ERROR}
RESERVED: Final = frozenset({"event", "method_name", "self"})
FLUSH_SECONDS: Final = 1.0

Event = MutableMapping[str, Any]


class _Output:
    """Where the lines of this process go, once it is configured."""

    writer: LogWriter | None = None
    own: Any = None


OUTPUT: Final = _Output()


def dropped() -> int:
    """The lines of this process that were not written."""
    return 0 if OUTPUT.writer is None else OUTPUT.writer.dropped


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Before the process ends: let what was logged come out, as far as the output takes it."""
    if OUTPUT.writer is not None:
        OUTPUT.writer.flush(seconds)


def _keep(_logger: Any, level: str, event: Event) -> Event:
    """A line of a handler is kept with its attempt, too."""
    lines = event.pop(KEPT_IN, None)
    if lines is not None:
        lines.add({**event, "level": level})
    return event


def _place(_logger: Any, _level: str, event: Event) -> Event:
    """Each line says to which trace and task it belongs."""
    context = current()
    if context is not None:
        event.setdefault("trace_id", context.trace_id)
        event.setdefault("span_id", context.span_id)
    if (running := RUNNING.get()) is not None:
        for name, value in running.fields.items():
            event.setdefault(name, value)
    return event


def configure(service: str, level: str, form: str, *, patience: float = 0.0) -> None:
    """Set up the log of this process: level and form as the settings `log_level` and `log_format` have them. Every line names the service.

    What is written by the standard logger goes the same way. `patience` is that of the LogWriter.
    """

    def named(_logger: Any, _level: str, event: Event) -> Event:
        event.setdefault("service", service)
        return event

    shared: list[structlog.typing.Processor] = [
        _keep,
        _place,
        named,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    is_console = form == "console"
    line = Line(console=is_console, colors=is_console and sys.stdout.isatty())
    render = [line] if is_console else [structlog.processors.format_exc_info, line]

    def report(count: int) -> str:
        event: Event = {"event": "log lines dropped", "count": count, "service": service, "level": "warning"}
        return line(None, "warning", structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "warning", event))

    writer = OUTPUT.writer = LogWriter(_descriptor(), report, patience=patience)
    forked.first_in_child(writer.forked)
    atexit.register(flush)
    wrapper, sink = _never_failing(LEVELS[level]), _Sink(writer.put)
    structlog.configure(processors=[*shared, *render], wrapper_class=wrapper, logger_factory=lambda *_: sink, cache_logger_on_first_use=True)
    OUTPUT.own = wrapper(sink, processors=[*shared, *render], context={})
    keep_own()
    _configure_standard(writer.put, LEVELS[level], shared, render)


def _descriptor() -> int:
    try:
        return sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # a process without standard output
        return -1


def keep_own() -> None:
    """Give each module of Waggle that is imported by now a logger which no configuration changes. Call it after imports that come late."""
    lazy = type(structlog.get_logger())
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in PACKAGES and isinstance(getattr(module, "log", None), lazy) and OUTPUT.own is not None:
            module.log = OUTPUT.own  # type: ignore[attr-defined]


class _Sink:
    """The logger below structlog's: each level hands its line to the writer."""

    def __init__(self, put: Callable[[str], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.exception = self.msg = self.log = put


def _never_failing(level: int) -> Any:
    """The filtering logger of structlog, whose calls take any field, and never raise nor wait."""
    base = structlog.make_filtering_bound_logger(level)
    names = ("debug", "info", "warning", "warn", "error", "exception", "critical", "fatal")
    methods = {name: _tried(getattr(base, name)) for name in names if NUMBERS.get(name, logging.CRITICAL) >= level}
    return type("NeverFailing", (base,), {**methods, **{f"a{name}": _awaited(method) for name, method in methods.items()}})


def _tried(method: Any) -> Any:
    def call(self: Any, event: Any = None, /, *args: Any, **fields: Any) -> None:
        try:
            method(self, event, *args, **fields)
        except Exception:  # placeholders that do not fit, or a field with the name of a parameter
            renamed = {f"{name}_" if name in RESERVED else name: value for name, value in fields.items()}
            with suppress(Exception):
                method(self, " ".join(map(text, (event, *args))), **renamed)

    return call


def _awaited(method: Any) -> Any:
    async def call(self: Any, event: Any = None, /, *args: Any, **fields: Any) -> None:
        method(self, event, *args, **fields)

    return call


class _Standard(logging.Handler):
    """Takes what is written by the standard logger."""

    def __init__(self, put: Callable[[str], None], formatter: logging.Formatter) -> None:
        super().__init__()
        self._put = put
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # placeholders that do not fit, or a value that cannot be shown
            record.msg, record.args, record.exc_info = " ".join(map(text, (record.msg, *_listed(record.args)))), None, None
            line = self.format(record)
        self._put(line)


def _listed(args: Any) -> tuple[Any, ...]:
    return args if isinstance(args, tuple) else (args,)


def _configure_standard(put: Callable[[str], None], level: int, shared: list[structlog.typing.Processor], render: list[Any]) -> None:
    chain: list[structlog.typing.Processor] = [*shared, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()]
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=chain, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render])
    logging.basicConfig(handlers=[_Standard(put, formatter)], level=level, force=True)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
