"""`python -m waggle_worker.check`: import the handlers that the environment names, check them, start nothing.

Exit code 2, with the reason, when a worker could not serve them.
"""

import os
import sys
from typing import NoReturn

from waggle.service import leave
from waggle.settings.environment import read
from waggle.settings.services import WorkerSettings
from waggle.settings.shared import SettingsError
from waggle_worker import alerts, callbacks, handlers
from waggle_worker.http.request import Outgoing


def served(settings: WorkerSettings, outgoing: Outgoing) -> handlers.Handlers:
    """The user's handlers and the built-in ones. Raises SettingsError."""
    return handlers.load(settings.app, outgoing.app(), alerts.app(settings), callbacks.app(settings, outgoing))


def main() -> NoReturn:
    try:
        settings = read(WorkerSettings, os.environ, otherwise=dict.fromkeys(("postgres_url", "nats_url"), "not known yet"))
        served(settings, Outgoing(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        leave(2)
    leave(0)  # whatever threads the user's module has started


if __name__ == "__main__":
    main()
