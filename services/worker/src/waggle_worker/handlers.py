"""Finding the handlers: the user's module (`WAGGLE_APP=module:app`) and the built-in ones."""

import importlib
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

from waggle.app import App, Handler
from waggle.settings import SettingsError
from waggle.task import DEFAULT_QUEUE
from waggle_worker import demo

Handlers = Mapping[str, Handler]


def load(reference: str) -> Handlers:
    """The handlers of `module:attribute`, with the built-in ones. Raises SettingsError, saying why, when they cannot be had."""
    app = App()
    app.include(demo.app)
    if reference:
        try:
            app.include(_find(reference))
        except ValueError as error:
            raise SettingsError(f"WAGGLE_APP={reference}: {error}") from error
    return app.handlers


def queues(handlers: Handlers, chosen: tuple[str, ...]) -> list[str]:
    """The queues to serve: the chosen ones, or the default one and those of the handlers."""
    return sorted(set(chosen) or {DEFAULT_QUEUE, *(handler.queue for handler in handlers.values())})


def _find(reference: str) -> App:
    module_name, _, attribute = reference.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever the user's module raises while it is imported
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise SettingsError(
            f"WAGGLE_APP={reference} cannot be loaded from {here}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
        ) from error
    if not isinstance(found, App):
        raise SettingsError(f"WAGGLE_APP={reference} is a {type(found).__name__}, not a waggle.App")
    return found
