"""The scheduler: small loops that move tasks that time has caught up with; each is safe on many schedulers at once."""
