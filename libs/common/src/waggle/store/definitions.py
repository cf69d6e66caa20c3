"""What the schema consists of: described from Postgres's catalogue, and compared with what the migrations make, which `definitions.json` holds."""

import asyncio
import json
import sys
from importlib import resources
from typing import Final, TypeAlias

from waggle.settings.shared import DEFAULT_SCHEMA
from waggle.store.client import Connection, TimeLimitedConnection
from waggle.store.sql import statement

Definitions: TypeAlias = dict[str, dict[str, str]]
"""For each kind of object its definitions by name; those of a table are named `table.name`. A definition names the schema `waggle`."""

OF_TABLES: Final = {"column": "schema/columns", "constraint": "schema/constraints", "index": "schema/indexes", "trigger": "schema/triggers"}


async def read(connection: TimeLimitedConnection) -> Definitions:
    """The tables, columns, constraints, indexes, triggers and functions of the connection's schema."""
    async with connection.transaction(readonly=True):
        await connection.execute("SET LOCAL search_path TO pg_catalog")  # Postgres leaves out schemas that stand in the search path
        return await _read(connection, connection.schema)


async def _read(connection: Connection, schema: str) -> Definitions:
    found: Definitions = {"table": {}}
    for kind, name in OF_TABLES.items():
        rows = await statement(name).fetch(connection, schema=f'"{schema}"')
        found[kind] = {f"{row['relation']}.{row['name']}": _portable(row["definition"], schema) for row in rows}
    found["table"] = {name.partition(".")[0]: "" for name in found["column"]}
    rows = await statement("schema/functions").fetch(connection, schema=f'"{schema}"')
    found["function"] = {_portable(row["name"], schema): _portable(row["definition"], schema) for row in rows}
    return found


def expected() -> Definitions:
    """What the migrations make. `python -m waggle.store.definitions URL` writes the file from a database that was migrated."""
    found: Definitions = json.loads(resources.files("waggle.store").joinpath("definitions.json").read_text())
    return found


def differences(wanted: Definitions, found: Definitions) -> list[str]:
    """What is missing or not as the migrations made it, a line each. What others added is no difference."""
    lines = []
    missing = set(wanted["table"]) - set(found["table"])
    for kind, objects in wanted.items():
        for name, definition in objects.items():
            if kind != "table" and name.partition(".")[0] in missing:
                continue  # one line for the table is enough
            if name not in found[kind]:
                lines.append(f"{kind} {name} is missing")
            elif found[kind][name] != definition:
                lines.append(f"{kind} {name} was changed: {_short(found[kind][name])}")
    return lines


def _portable(definition: str, schema: str) -> str:
    return definition.replace(f'"{schema}"', DEFAULT_SCHEMA).replace(f" {schema}.", f" {DEFAULT_SCHEMA}.")


def _short(definition: str) -> str:
    line = " ".join(definition.split())
    return line if len(line) <= 100 else f"{line[:99]}…"


async def _write(url: str) -> None:
    from waggle.settings.services import DirectSettings
    from waggle.store.postgres import connect

    connection = await connect(DirectSettings(postgres_url=url, nats_url="nats://not.used"), "definitions")
    print(json.dumps(await read(connection), indent=1, sort_keys=True))
    await connection.close()


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1]))
