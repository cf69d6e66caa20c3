"""What the dlq service counts beside its cleanups."""

from typing import Final

from prometheus_client import Counter

RETRIED: Final = Counter("dlq_tasks_retried", "Dead letters that became pending again", ["how"])
REMOVED: Final = Counter("dlq_tasks_removed", "Dead letters that an operator made failed")
SKIPPED: Final = Counter("dlq_tasks_skipped", "Dead letters that a bulk retry passed over", ["reason"])
REDRIVES: Final = Counter("dlq_redrives_ended", "Bulk retries that ended", ["state"])
REFUSED: Final = Counter("dlq_commands_refused", "Commands that were not done", ["reason"])
