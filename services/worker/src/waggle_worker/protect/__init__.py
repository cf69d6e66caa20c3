"""Circuit breakers: their rules, what the fleet shares of them, and one use of one by a run."""
