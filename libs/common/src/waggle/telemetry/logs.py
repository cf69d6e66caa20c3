"""Log lines on standard output: one event each, as JSON or for the console. They never hold payloads; ids of tasks and requests are fields."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from waggle.context import KEPT_IN
from waggle.telemetry.traces import current

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def _keep(_logger: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line of a handler is kept with its attempt, too."""
    lines = event.pop(KEPT_IN, None)
    if lines is not None:
        lines.add({**event, "level": level})
    return event


def _place(_logger: Any, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Each line says to which trace it belongs."""
    context = current()
    if context is not None:
        event.setdefault("trace_id", context.trace_id)
        event.setdefault("span_id", context.span_id)
    return event


def configure(service: str, level: str, form: str) -> None:
    """Set up the log of this process: level and form as the settings `log_level` and `log_format` have them. Every line names the service.

    Warnings and errors of libraries that use the standard logger go the same way.
    """
    shared: list[structlog.typing.Processor] = [
        _keep,
        _place,
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.typing.Processor]
    if form == "console":
        render = [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
    else:
        render = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render])
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
