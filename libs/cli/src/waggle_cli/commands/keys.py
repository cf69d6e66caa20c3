"""`waggle keys`: API keys. Only a key with the scope admin may manage them; `create --direct` makes the first one in the database itself."""

import json
from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from waggle_cli.commands import options
from waggle_cli.commands.parameters import EXIT_CODES, FIRST_PART, WHICH_API, Flag, Output, Part, Seconds, Url, examples

EPILOGUE: Final = f"""\
A key is sent as `Authorization: Bearer wgl_…` or `X-API-Key: wgl_…`. The command
line sends that of WAGGLE_API_KEY, or of the `waggle up` whose address it uses.
`waggle keys` without a command is `waggle keys list`.
{WHICH_API.rstrip()}

Examples:
  waggle keys
  waggle keys create --comment "shop, production" --scope tasks:write --queue mail
  waggle keys revoke b62nQo1mCncr

{EXIT_CODES}"""

DIRECT: Final = "waggle keys create --direct"

Scope = Literal["tasks:read", "tasks:write", "payloads:read", "dlq:read", "dlq:write", "queues:write", "admin"]
KeyId = Annotated[str, Parameter(name="ID")]
KeyIds = Annotated[list[str], Parameter(name="ID")]

app = App(name="keys", help="API keys: list, create, replace the secret, revoke.", help_epilogue=EPILOGUE, default_parameter=Parameter(negative_iterable=()))


@app.default
@app.command(name="list", help_epilogue=examples("waggle keys list", "waggle keys list --all -o jsonl"))
def list_(*, part: Part = FIRST_PART, output: Output = "table", url: Url = "") -> int:
    """List the API keys, revoked and expired ones, too."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import keys, lists

    with session("waggle keys list", url) as api:
        lists.listing(
            api,
            ["auth", "keys"],
            output,
            keys.table,
            query={},
            most=part.maximum,
            cursor=part.cursor,
            again=("keys", "list"),
            empty=lambda: "No API keys.",
            url=url,
        )
    return Exit.OK


@app.command(
    help_epilogue=examples(
        'waggle keys create --comment "shop, production" --scope tasks:write --queue mail --queue reports',
        'waggle keys create --comment "on call" --scope tasks:read --scope dlq:read --scope dlq:write --expires-in 90d',
        'waggle keys create --comment "the first one" --scope admin --direct',
    )
)
def create(
    *,
    comment: str,
    scope: Annotated[list[Scope], Parameter(name="--scope")],
    queue: Annotated[list[str] | None, Parameter(name="--queue")] = None,
    type_: Annotated[list[str] | None, Parameter(name="--type")] = None,
    expires_in: Seconds = None,
    direct: Flag = False,
    output: Output = "table",
    url: Url = "",
) -> int:
    """Create an API key and print it. It is shown this once, and stored as an HMAC.

    Parameters
    ----------
    comment
        What the key is for.
    scope
        What it may do. May be repeated.
    queue
        Only tasks of this queue exist for it. May be repeated.
    type_
        Only tasks of this type exist for it. May be repeated.
    expires_in
        How long it works: seconds, or a length such as 12h or 90d. Without it, until it is revoked.
    direct
        Write it to Postgres (WAGGLE_POSTGRES_URL), under WAGGLE_API_SECRET, without the API: for the first key.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import keys, lists

    fields = {"comment": comment, "scopes": scope, "queues": queue, "types": type_, "expires_in": expires_in}
    if direct:
        return _create_direct({name: value for name, value in fields.items() if value}, output)
    body = json.dumps({name: value for name, value in fields.items() if value is not None}).encode()
    with session("waggle keys create", url) as api:
        lists.one(api.post("auth", "keys", body=body), output, keys.made)
    return Exit.OK


@app.command(help_epilogue=examples("waggle keys show b62nQo1mCncr"))
def show(key_id: KeyId, /, *, output: Output = "table", url: Url = "") -> int:
    """Show one API key, without its secret.

    Parameters
    ----------
    key_id
        The key's id: the part between its underscores.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import keys, lists

    with session("waggle keys show", url) as api:
        lists.one(api.get("auth", "keys", key_id), output, keys.card)
    return Exit.OK


@app.command(help_epilogue=examples("waggle keys replace b62nQo1mCncr", "waggle keys replace b62nQo1mCncr --overlap 0"))
def replace(
    key_id: KeyId, /, *, overlap: Annotated[float, Parameter(converter=options.seconds, metavar="SECONDS")] = 86_400.0, output: Output = "table", url: Url = ""
) -> int:
    """Give an API key a new secret and print it. The secret before works for a time, so that clients can change over one by one.

    Parameters
    ----------
    key_id
        The key's id.
    overlap
        How long the secret before works: seconds, or a length such as 12h. At most 90 days.
    """
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import keys, lists

    with session("waggle keys replace", url) as api:
        lists.one(api.post("auth", "keys", key_id, "replace", body=json.dumps({"overlap": overlap}).encode()), output, keys.made)
    return Exit.OK


@app.command(usage="Usage: waggle keys revoke [OPTIONS] ID...", help_epilogue=examples("waggle keys revoke b62nQo1mCncr"))
def revoke(key_ids: KeyIds, /, *, output: Output = "table", url: Url = "") -> int:
    """Revoke API keys: within two seconds no API accepts them any more.

    Parameters
    ----------
    key_ids
        The ids of the keys.
    """
    from waggle_cli.commands.session import each, session
    from waggle_cli.views import lists
    from waggle_cli.views.show import say
    from waggle_cli.views.words import plain

    with session("waggle keys revoke", url) as api:
        return each(
            "waggle keys revoke", key_ids, lambda key_id: lists.one(api.delete("auth", "keys", key_id), output, lambda key: say("revoked ", plain(key["id"])))
        )


@app.command(help_epilogue=examples("waggle keys whoami"))
def whoami(*, output: Output = "table", url: Url = "") -> int:
    """Show what the key that this command line sends may do."""
    from waggle_cli.commands.session import Exit, session
    from waggle_cli.views import keys, lists

    with session("waggle keys whoami", url) as api:
        lists.one(api.get("auth", "me"), output, keys.me)
    return Exit.OK


def _create_direct(fields: dict[str, Any], output: str) -> int:
    """In the database itself."""
    import asyncio
    import os
    import sys
    from pathlib import Path

    import asyncpg

    from waggle.field_errors import Invalid
    from waggle.settings.environment import read
    from waggle.settings.services import CommandLineSettings
    from waggle.settings.shared import SettingsError
    from waggle_cli.commands.session import Exit
    from waggle_cli.doctor.findings import reason
    from waggle_cli.rest.running import servers
    from waggle_cli.rest.shapes import Reply
    from waggle_cli.views import keys, lists

    try:
        settings = read(CommandLineSettings, os.environ, otherwise={**servers(Path.cwd()), "nats_url": "nats://not.used"})
        if not settings.api_secret:
            raise SettingsError("WAGGLE_API_SECRET is missing: give the one of the API")
        made = asyncio.run(_insert(settings, fields))
    except (SettingsError, Invalid) as error:
        told = [str(error)] if isinstance(error, SettingsError) else [f"{one.field}: {one.message}" for one in error.errors]
        print("waggle keys create: " + "\n  ".join(told), file=sys.stderr)
        return Exit.USAGE
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        print(f"waggle keys create: Postgres: {reason(error)}", file=sys.stderr)
        return Exit.UNAVAILABLE
    lists.one(Reply(201, json.dumps(made).encode(), made), output, keys.made)
    return Exit.OK


async def _insert(settings: Any, fields: dict[str, Any]) -> dict[str, Any]:
    import msgspec

    from waggle.admin import keys
    from waggle.admin.trail import Event, Trail
    from waggle.api_keys import Fingerprints
    from waggle.store import postgres

    wanted = keys.NewKey(**{{"expires_in": "seconds"}.get(name, name): value for name, value in fields.items()})
    connection = await postgres.connect_once(settings, "keys")
    try:
        async with connection.transaction():
            stored, key = await keys.create(connection, wanted, DIRECT, Fingerprints(settings.api_secret))
            await Trail(settings.api_secret).add(connection, Event(DIRECT, "key.create", stored.id, "", "", after={"scopes": stored.scopes}))
    finally:
        await connection.close()
    found: dict[str, Any] = {**msgspec.to_builtins(stored), "key": key.text}
    return found
