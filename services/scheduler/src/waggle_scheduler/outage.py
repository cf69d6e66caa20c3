"""What every loop of the scheduler waits out: either server being away."""

from typing import Final

from waggle.bus import connection
from waggle.store import postgres

OUTAGE: Final = postgres.OUTAGE + connection.OUTAGE
