"""The metrics of the dlq service, except those of its cleanups."""

from typing import Final

from waggle.telemetry import catalogue

RETRIED: Final = catalogue.DLQ_RETRIED.create()
REMOVED: Final = catalogue.DLQ_REMOVED.create()
SKIPPED: Final = catalogue.DLQ_SKIPPED.create()
REDRIVES: Final = catalogue.DLQ_REDRIVES_ENDED.create()
REFUSED: Final = catalogue.DLQ_COMMANDS_REFUSED.create()
