"""Payloads: the JSON Schema that a handler's parameters become, and a decoder that takes exactly what this schema says.

The schema is the one decision: doors check it, and what they take the decoder reads.
"""
