# Waggle's recipes; `just` (or `uv run just`) lists them.

[private]
default:
    @uv run just --list --unsorted

# start everything on this machine, in the foreground (Ctrl-C stops it)
up *args:
    uv run waggle up {{ args }}

# run all tests, on real servers that they start
test *args:
    uv run pytest {{ args }}

# run the tests that need no server (seconds)
unit *args:
    uv run pytest -n 0 tests/unit {{ args }}

# run the fault tests at full size; each prints its figures and its seed (FAULTS_SEED=… repeats a run)
faults *args:
    FAULTS=full uv run pytest -n 0 -o timeout=0 -o faulthandler_timeout=0 tests/faults -rP {{ args }}

# check style, types and imports
lint:
    uv run ruff check
    uv run ruff format --check
    uv run mypy
    uv run lint-imports

# let ruff fix what it can
format:
    uv run ruff check --fix
    uv run ruff format

# write store/definitions.json, which `waggle migrate --check` compares with, from a migrated database
definitions url:
    uv run python -m waggle.store.definitions {{ url }} > definitions.new && mv definitions.new libs/common/src/waggle/store/definitions.json

# make waggle.client.sync from waggle.client.aio
sync-client:
    uv run python clients/python/sync_client.py

# write docs/settings.md, docs/metrics.md and docs/asyncapi.json from the declarations in the code
docs:
    uv run waggle config docs > docs/settings.new && mv docs/settings.new docs/settings.md
    uv run python -m waggle.telemetry.reference > docs/metrics.new && mv docs/metrics.new docs/metrics.md
    uv run python -m waggle_api.openapi.asyncapi > docs/asyncapi.new && mv docs/asyncapi.new docs/asyncapi.json

# check docs/asyncapi.json with the official parser (downloads packages)
asyncapi:
    #!/usr/bin/env bash
    set -euo pipefail
    folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
    npm install --silent --prefix "$folder" @asyncapi/parser@3.6.6
    cp docs/asyncapi.json "$folder"
    cd "$folder" && node -e 'const { Parser } = require("@asyncapi/parser");
    new Parser().parse(require("fs").readFileSync("asyncapi.json", "utf8")).then(({ document, diagnostics }) => {
      const wrong = diagnostics.filter((found) => found.severity === 0);
      console.log(wrong.length ? wrong : `valid: ${document.operations().all().length} operations`);
      process.exit(wrong.length ? 1 : 0);
    })'

# write the files in deploy/ and docs/dashboards.md that are made by code
dashboards:
    uv run python deploy/grafana/boards.py
    uv run python deploy/compose/nats/make.py

# run the benchmarks and print a table (about ten minutes; see `just bench --help`)
bench *args:
    uv run python bench/table.py {{ args }}

# check that memory stays flat over twenty minutes of mixed work
soak *args:
    uv run python bench/soak.py {{ args }}

# check what surprised us about the software below Waggle: runs it alone, fails if it changed (downloads packages)
findings *scripts:
    #!/usr/bin/env bash
    set -uo pipefail
    shopt -s nullglob
    failed=()
    for script in {{ if scripts == "" { "findings/*.sh" } else { scripts } }}; do
        echo "== $script"
        bash "$script" || failed+=("$script")
    done
    [ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }

# record docs/waggle.svg, the picture in the README, with a real `waggle up`
picture:
    uv run python docs/record.py

# build a wheel of each distribution into dist/
wheels:
    uv build --all-packages --wheel --out-dir dist

# give all distributions a new version, and the changelog a section for it
version number:
    uv run python .ci/version.py {{ number }}

# run what decides whether a change lands
ci:
    bash .ci/run
