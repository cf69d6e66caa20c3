# Waggle's recipes; `just` (or `uv run just`) lists them.

[private]
default:
    @uv run just --list --unsorted

# start everything on this machine, in the foreground (Ctrl-C stops it)
up *args:
    uv run waggle up {{ args }}

# all tests, on real servers that they start themselves
test *args:
    uv run pytest {{ args }}

# the pure tests only: seconds
unit *args:
    uv run pytest tests/unit {{ args }}

# style, types, import arrows
lint:
    uv run ruff check
    uv run ruff format --check
    uv run mypy
    uv run lint-imports

# let ruff mend what it can
format:
    uv run ruff check --fix
    uv run ruff format

# the benchmarks, one JSON line each
bench:
    uv run python bench/submit.py
    uv run python bench/drain.py
    uv run python bench/latency.py
    uv run python bench/idle.py

# what decides whether a change lands
ci:
    bash .ci/run
