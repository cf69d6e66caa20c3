"""The scheduler: small loops for due tasks, lost doorbells, dead workers, deadlines and retention. Each is safe on many schedulers at once."""

from typing import Final

from waggle.bus import connection
from waggle.store import postgres

OUTAGE: Final = postgres.POSTGRES_OUTAGE + connection.NATS_OUTAGE  # what every loop waits out: an outage of either server
