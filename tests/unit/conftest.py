"""How hypothesis runs here: an example may take as long as it likes, since a busy machine is no failure; pytest-timeout bounds the whole test."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
