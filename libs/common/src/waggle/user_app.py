"""The user's application: the `App` that `WAGGLE_APP=module:attribute` names, found from the current folder."""

import importlib
import sys
import traceback
from pathlib import Path
from typing import Final

import waggle
from waggle.app import App
from waggle.settings.kinds import hint
from waggle.settings.shared import SettingsError
from waggle.telemetry import logs

WAGGLE: Final = str(Path(waggle.__file__).parent)
IMPORTLIB: Final = str(Path(importlib.__file__).parent)


def find(reference: str) -> App:
    """Import it. Raises SettingsError with the reason when that fails."""
    module_name, _, attribute = reference.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    logs.keep_own()
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever the user's module raises while it is imported
        where = _users_line(error)
        raise SettingsError(
            f"WAGGLE_APP={reference} cannot be loaded from {here}: {type(error).__name__}: {error} ({where.filename}:{where.lineno}){hint(reference)}"
        ) from error
    if not isinstance(found, App):
        raise SettingsError(f"WAGGLE_APP={reference} is of type {type(found).__name__}, not a waggle.App")
    return found


def _users_line(error: Exception) -> traceback.FrameSummary:
    """The innermost line outside of Waggle: a declaration that is refused is the user's."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame for frame in reversed(frames) if not frame.filename.startswith((WAGGLE, IMPORTLIB, "<frozen"))), frames[-1])
