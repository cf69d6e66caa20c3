"""`waggle audit`: whether what holds at rest does hold, asked of Postgres and NATS themselves; it only reads, unless it is told to repair.

`looks` is what is looked at, `rounds` looks until it holds, `repair` does once what the loops would.
"""
