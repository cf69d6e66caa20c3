"""The handlers of a worker: the user's (`WAGGLE_APP=module:app`) and the built-in ones."""

from collections.abc import Mapping

from waggle.app import App, Handler
from waggle.settings.shared import SettingsError
from waggle.task import DEFAULT_QUEUE
from waggle.user_app import find
from waggle_worker import demo

Handlers = Mapping[str, Handler]


def load(reference: str, *builtin: App) -> Handlers:
    """The handlers of `module:attribute` and the built-in ones. Raises SettingsError with the reason when they cannot be loaded."""
    app = App()
    for included in (demo.app, *builtin):
        app.include(included)
    if reference:
        try:
            app.include(find(reference))
        except ValueError as error:
            raise SettingsError(f"WAGGLE_APP={reference}: {error}") from error
    return app.handlers


def queues(handlers: Handlers, chosen: tuple[str, ...]) -> list[str]:
    """The queues to serve: the chosen ones, or `default` and those of the handlers."""
    return sorted(set(chosen) or {DEFAULT_QUEUE, *(handler.queue for handler in handlers.values())})
