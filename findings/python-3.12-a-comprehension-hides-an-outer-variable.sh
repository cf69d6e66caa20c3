#!/usr/bin/env bash
# Python 3.12 and newer: a comprehension that reuses the name of an enclosing function's variable breaks the
#   next one.
#
# Versions: CPython 3.12.1, 3.13.0, 3.14.2, 3.15.0rc1; 3.11 prints [1, 2].
# Behaviour: `convert` is a variable of the enclosing function. The first comprehension uses the same name for its loop
#   variable, the second one calls the outer `convert`. Up to 3.11 that works. Since comprehensions are
#   inlined (PEP 709), which says that behaviour does not change but for stack frames and locals(), it raises
#   UnboundLocalError. Needs any Python from 3.12 on; no package.
# Output seen:
#   UnboundLocalError: cannot access local variable 'convert' where it is not associated with a value
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=$(ls ~/.pyenv/versions/3.1[2-9]*/bin/python3 2>/dev/null | tail -1 || true)
python=${PYTHON:-${python:-$(uv python find '>=3.12')}}
"$python" --version
"$python" - <<'PYTHON'
def reader(convert):
    def read(texts):
        parts = [convert.strip() for convert in texts]
        return [convert(part) for part in parts]

    return read


try:
    print(reader(int)([" 1", "2 "]))
except UnboundLocalError as error:
    print("UnboundLocalError:", error)
else:
    raise SystemExit("changed: the comprehension has a scope of its own again")
PYTHON
