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
    uv run pytest -n 0 tests/unit {{ args }}

# the fault tests at full size; each prints its figures and its seed (FAULTS_SEED=… repeats it)
faults *args:
    FAULTS=full uv run pytest -n 0 -o timeout=0 -o faulthandler_timeout=0 tests/faults -rP {{ args }}

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

# docs/settings.md, made anew from the settings' own table
docs:
    uv run waggle config docs > docs/settings.new && mv docs/settings.new docs/settings.md

# the benchmarks and the table of their figures (about ten minutes; `just bench --help` has names, sizes, exit codes)
bench *args:
    uv run python bench/table.py {{ args }}

# whether memory stays flat over twenty minutes of mixed work
soak *args:
    uv run python bench/soak.py {{ args }}

# what decides whether a change lands
ci:
    bash .ci/run
