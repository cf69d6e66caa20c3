"""The processes of `process=True` handlers."""
