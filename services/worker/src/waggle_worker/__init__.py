"""The worker: pulls doorbells lane by lane, claims their tasks, runs the handlers, settles the outcomes.

lanes (bus.pull) ─► picker ─► claims (SQL) ─► runs (handlers) ─► settler (SQL)        lease: heartbeat and reconciliation
"""
