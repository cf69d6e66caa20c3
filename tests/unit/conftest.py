"""Settings of hypothesis: no time limit per example, because a slow machine is no failure. pytest-timeout limits the whole test."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
