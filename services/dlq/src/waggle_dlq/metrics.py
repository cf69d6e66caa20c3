"""The metrics of the dlq service."""

from typing import Final

from waggle.telemetry import catalogue

RETRIED: Final = catalogue.DLQ_RETRIED.create()
REMOVED: Final = catalogue.DLQ_REMOVED.create()
SKIPPED: Final = catalogue.DLQ_SKIPPED.create()
REDRIVES: Final = catalogue.DLQ_REDRIVES_ENDED.create()
REFUSED: Final = catalogue.DLQ_COMMANDS_REFUSED.create()

SIZE: Final = catalogue.DLQ_SIZE.create()
LETTERS: Final = catalogue.DLQ_LETTERS.create()
CLEANED: Final = catalogue.DLQ_CLEANED.create()
REMAINING: Final = catalogue.DLQ_REMAINING.create()
CLEANUP_SECONDS: Final = catalogue.DLQ_CLEANUP_SECONDS.create()
CLEANUP_SUCCESS: Final = catalogue.DLQ_CLEANUP_SUCCESS.create()
CLEANUP_FAILURE: Final = catalogue.DLQ_CLEANUP_FAILURE.create()
