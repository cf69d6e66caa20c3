"""The worker: pulls doorbells lane by lane, claims their tasks, runs the handlers, settles the outcomes.

lanes ─► picker ─► claims (SQL) ─► runs ─► execution (handlers) ─► settler (SQL)        lease: heartbeat and reconciliation
"""
