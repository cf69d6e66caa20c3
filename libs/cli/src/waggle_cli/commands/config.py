"""`waggle config`: the settings as a service would read them here, and their reference."""

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from cyclopts import App

from waggle_cli.commands.parameters import TableOrJson

if TYPE_CHECKING:
    from msgspec.structs import FieldInfo

    from waggle.settings.sources import SettingsRead

EPILOGUE: Final = """\
Settings come from WAGGLE_... variables, from files that hold one secret each
(WAGGLE_POSTGRES_URL_FILE=/run/secrets/postgres_url), and from the TOML file
that WAGGLE_CONFIG names. Variables override the TOML file, which overrides the
defaults. An unknown or invalid setting stops a service at its start.

Examples:
  waggle config show
  WAGGLE_CONFIG=waggle.toml waggle config show -o json
  waggle config docs > settings.md
"""
SHOW_EPILOGUE: Final = """\
Examples:
  waggle config show
  WAGGLE_CONFIG=waggle.toml waggle config show -o json

Exit codes:
  0  a service would start with these settings
  2  it would not: a setting is missing, unknown or invalid
"""

app = App(name="config", help="Show the settings, and where each one comes from.", help_epilogue=EPILOGUE)


@app.command(help_epilogue=SHOW_EPILOGUE)
def show(*, output: TableOrJson = "table") -> int:
    """Show each setting with its value and its source: the default, a variable, a file.

    It reads the settings as a service started here would, and reports the same errors. Passwords are shown as ***.
    """
    import json

    from waggle.settings.environment import gather
    from waggle.settings.services import declared
    from waggle_cli.views import show as shown
    from waggle_cli.views.words import plain

    reading = gather(os.environ)
    items = [_item(field, reading) for field in declared().values()]
    if output == "json":
        shown.raw(json.dumps({"items": items, "findings": reading.findings}, ensure_ascii=False).encode())
    else:
        shown.table([{"SETTING": plain(item["name"]), "VALUE": plain(_value(item)), "FROM": plain(item.get("where", item["source"]))} for item in items])
    if reading.findings:
        print("\n".join(["waggle config show: invalid settings", *reading.findings]), file=sys.stderr)
        return 2
    return 0


@app.command
def docs() -> None:
    """Print the reference of all settings as Markdown (docs/settings.md)."""
    from waggle_cli.views.settings_page import page

    print(page(), end="")


def _item(field: "FieldInfo", reading: "SettingsRead") -> dict[str, Any]:
    """A setting for the JSON output; a missing or invalid one has no value."""
    from waggle.settings.sources import is_secret, masked, variable

    name, source = field.name, reading.source(field.name)
    item: dict[str, Any] = {"name": name, "variable": variable(name), "source": source.kind}
    if source.where:
        item["where"] = source.where
    if field.required and not reading.is_set(name):
        item["source"] = "missing"
    elif name in reading.values or not reading.is_set(name):
        value = reading.values.get(name, field.default)
        hides = is_secret(field.type) or (isinstance(value, str) and "@" in value)  # the API's address may hold a password too
        item["value"] = masked(value) if hides and value else value
    return item


def _value(item: dict[str, Any]) -> str:
    """A value for a cell: `-` if it is empty, `?` if there is none."""
    match item.get("value", "?"):
        case None | "" | ():
            return "-"
        case [*parts]:
            return ", ".join(parts)
        case float(number):
            return f"{number:.15g}"
        case value:
            return str(value)
