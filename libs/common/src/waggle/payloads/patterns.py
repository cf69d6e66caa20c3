"""Regular expressions of Python, written so that JSON Schema's dialect (ECMA 262, with Unicode) means the same by them. Pure.

Python's `\\w` knows all letters, its `$` also stands before a last line break, and its groups have another syntax. What has no counterpart is not
translated, and only Python itself can check it.
"""

import re
from collections.abc import Iterator
from typing import Final

_ONE: Final = re.compile(
    r"""(?P<escape>\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[1-9](?![0-9])|[^0-9xuUNGgz]))
    | (?P<named>\(\?P<\w+>) | (?P<group>\((?:\?(?::|=|!|<=|<!))?(?!\?)) | \(\?P=(?P<reference>\w+)\)
    | (?P<times>[*+?]\??(?!\+)|\{\d+(?:,\d*)?\}\??(?!\+)) | \{,(?P<most>\d+)\}(?!\+) | (?P<brace>\{(?!\d*,?\d*\}))
    | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\]) | (?P<end>\$) | (?P<other>[^\\\[({*+?$])""",
    re.VERBOSE | re.DOTALL,
)
_MEMBER: Final = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^0-9xuUN])|[^\\]", re.DOTALL)
_UNSURE_REFERENCE: Final = re.compile(r"\||\)[?*{]")  # Python: a reference to a group that took no part never matches
_REPEATED_PLACE: Final = re.compile(r"\(\?[=!<].*\)[*+?{]|(?:\\[bAZ]|\^)[*+?{]", re.DOTALL)

_SPACES: Final = r"\t-\r\u001c- \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CLASSES: Final = {"d": r"\p{Nd}", "w": r"\p{L}\p{N}_", "s": _SPACES}
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_WORD: Final = f"[{_CLASSES['w']}]"
_BOUNDARY: Final = f"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))"
_SHORT: Final = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\f": r"\f", "\v": r"\v"}
_SYNTAX: Final = frozenset(r"^$\.*+?()[]{}|")
_SET_SYNTAX: Final = frozenset(r"^\[]-")


class Untranslatable(ValueError):
    """A pattern that has no counterpart, or one that was not looked for: flags, conditions, atomic groups."""


def portable(pattern: str) -> str:
    """The pattern for JSON Schema. Raises Untranslatable."""
    if _REPEATED_PLACE.search(pattern):  # other dialects repeat only what has a width
        raise Untranslatable(pattern)
    groups: list[str] = []
    at, parts = 0, []
    while at < len(pattern):
        found = _ONE.match(pattern, at)
        if found is None:
            raise Untranslatable(pattern)
        at = found.end()
        parts.append(_part(found, groups))
    return "".join(parts)


def _part(found: re.Match[str], groups: list[str]) -> str:
    """One part of a pattern in the other dialect; `groups` has the names of those that have begun."""
    text = found.group()
    match found.lastgroup:
        case "named":
            groups.append(text[4:-1])
            return "("
        case "group":
            if text == "(":
                groups.append("")
            return text
        case "reference":
            return _reference(groups.index(found["reference"]) + 1, found.string)
        case "escape":
            return _reference(int(text[1]), found.string) if text[1].isdigit() else _escape(text)
        case "most":
            return "{0," + found["most"] + "}"
        case "set":
            return _set(text)
        case "end":
            return _end(found.string, found.end())
        case "other":
            return "[^\\n]" if text == "." else rf"\{text}" if text in "]}" else text
        case kind:
            return r"\{" if kind == "brace" else text


def _end(pattern: str, at: int) -> str:
    """`$`, which also stands before a last line break; at the end of an alternative it does no harm to read that."""
    if at < len(pattern) and pattern[at] in "*+?{":
        raise Untranslatable(pattern)
    is_last = at == len(pattern) or (pattern[at] == "|" and "(" not in pattern)
    return r"\n?$" if is_last else r"(?=\n?$)"


def _reference(group: int, pattern: str) -> str:
    if _UNSURE_REFERENCE.search(pattern):
        raise Untranslatable(pattern)
    return rf"(?:\{group})"


def _escape(text: str) -> str:
    match text[1]:
        case "b":
            return _BOUNDARY
        case "A":
            return "^"
        case "Z":
            return "$"
        case "d" | "w" | "s" as name:
            return f"[{_CLASSES[name]}]"
        case "D" | "W" | "S" as name:
            return f"[^{_CLASSES[name.lower()]}]"
        case _:
            return _literal(_character(text), _SYNTAX)


def _character(text: str) -> str:
    """The character that an escape stands for."""
    if text[1] in "xu":
        return chr(int(text[2:], 16))
    if text[1] in _CONTROLS:
        return _CONTROLS[text[1]]
    if text[1].isalnum() and text[1].isascii():
        raise Untranslatable(text)
    return text[1]


def _literal(character: str, syntax: frozenset[str]) -> str:
    if character in syntax:
        return "\\" + character
    if character in _SHORT:
        return _SHORT[character]
    return character if character.isprintable() and character not in "&~#" else f"\\u{ord(character):04x}"


def _set(text: str) -> str:
    """A set of characters. Each `-` that is no range is escaped, unless it is the last one."""
    opening = "[^" if text.startswith("[^") else "["
    members = list(_members(text[len(opening) : -1]))
    return opening + "".join(members) + "]"


def _members(inner: str) -> Iterator[str]:
    tokens = _MEMBER.findall(inner)
    if "".join(tokens) != inner:
        raise Untranslatable(inner)
    at = 0
    while at < len(tokens):
        low = tokens[at]
        if at + 2 < len(tokens) and tokens[at + 1] == "-":
            yield f"{_member(low)}-{_member(tokens[at + 2])}"
            at += 3
        elif low in (r"\d", r"\w", r"\s"):
            yield _CLASSES[low[1]]
            at += 1
        else:
            yield "-" if low == "-" and at == len(tokens) - 1 else _member(low)
            at += 1


def _member(text: str) -> str:
    if text == r"\b":
        return r"\u0008"
    return _literal(_character(text) if len(text) > 1 else text, _SET_SYNTAX)
