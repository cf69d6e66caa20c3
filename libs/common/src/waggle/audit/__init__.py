"""The audit: does what must hold at rest hold, according to Postgres and NATS themselves?

`conditions` is one observation of both servers, `rounds` observes until everything holds, `repair` does once what the scheduler's loops would.
An observation only reads. The command line shows the result.
"""
