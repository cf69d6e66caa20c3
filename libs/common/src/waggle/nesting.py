"""How deep JSON may be nested: a limit of our own, because each version of Python has another one.

`check` is for everything that a user sends: payloads, metadata, results, other bodies. It costs nothing for a short text, little for a long one with
few brackets, and otherwise a fraction of what decoding costs.
"""

from itertools import accumulate
from typing import Final

from msgspec import Raw

LEVELS: Final = 512  # objects and lists inside each other; Python 3.11 itself reads fewer than 1,000

_OPEN: Final = ord("[")
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_REST: Final = bytes(set(range(256)) - set(b'[]{}"'))
_PIECE: Final = 256
_COUNTED: Final = 16 << 10  # bytes


class TooDeep(RecursionError):
    """JSON that is nested deeper than LEVELS. Its parent is what a decoder raises at the interpreter's own limit."""

    def __init__(self) -> None:
        super().__init__(f"nested more than {LEVELS} levels deep")


def check(json: bytes | Raw) -> None:
    """Raises TooDeep. A text that is not JSON may pass: decoding refuses it."""
    if len(json) > 2 * LEVELS:  # a shorter one has no room for one more level and its closing brackets
        text = bytes(json)
        if _has_many_brackets(text) and _is_too_deep(text):
            raise TooDeep


def _has_many_brackets(text: bytes) -> bool:
    """Whether more brackets open than there may be levels, those inside strings included."""
    if len(text) <= _COUNTED:
        return text.count(b"[") + text.count(b"{") > LEVELS
    found = 0  # a search that ends at the limit is faster for a long text with few brackets
    for bracket in (b"[", b"{"):
        at = text.find(bracket)
        while at >= 0:
            found += 1
            if found > LEVELS:
                return True
            at = text.find(bracket, at + 1)
    return False


def _is_too_deep(text: bytes) -> bool:
    """Counts brackets outside strings, piece by piece, so that a large text needs little memory."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    text = text.translate(_BRACKETS, _REST).replace(b'""', b"")  # strings without a bracket are gone now
    depth, in_string = 0, False
    for start in range(0, len(text), _PIECE):
        parts = text[start : start + _PIECE].split(b'"')
        outside = b"".join(parts[in_string::2])
        in_string ^= len(parts) % 2 == 0
        opened = outside.count(b"[")
        if depth + opened > LEVELS and max(accumulate([1 if bracket == _OPEN else -1 for bracket in outside], initial=depth)) > LEVELS:
            return True
        depth += 2 * opened - len(outside)
    return False
