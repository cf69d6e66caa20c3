"""The scheduler: small loops that move tasks that time has caught up with; each is safe on many schedulers at once."""

from typing import Final

from waggle.bus import connection
from waggle.store import postgres

OUTAGE: Final = postgres.OUTAGE + connection.OUTAGE  # what every loop waits out: either server being away
