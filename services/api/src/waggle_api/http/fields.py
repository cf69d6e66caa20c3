"""Small bodies as structs of their fields: unknown and wrong fields are told all at once. `null` in an optional field means that it is not given."""

from typing import Any, TypeVar

import msgspec

from waggle import nesting
from waggle.field_errors import UNREADABLE, Findings, plain
from waggle_api.refusals import Malformed

S = TypeVar("S", bound=msgspec.Struct)


def read(body: bytes, kind: type[S]) -> S:
    """The body as `kind`, whose fields are all optional; an empty body gives none of them. Raises Malformed or Invalid."""
    if not body:
        return kind()
    try:
        nesting.check(body)
        fields: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.ValidationError as error:
        raise Malformed("send an object, or no body") from error
    except UNREADABLE as error:
        raise Malformed(f"the body is not JSON that can be read: {error}") from error
    findings, types, good = Findings(), {field.name: field.type for field in msgspec.structs.fields(kind)}, {}
    for name, value in fields.items():
        if name not in types:
            findings.add(name, "is not a field of this body" + findings.propose(name, types))
            continue
        try:
            good[name] = msgspec.convert(value, types[name])
        except msgspec.ValidationError as error:
            findings.add(name, plain(error))
    findings.check()
    return kind(**good)
