"""The API key of the tests: an admin's, in every database of theirs, under the secret of theirs."""

from typing import Final

import asyncpg

from waggle.api_keys import Fingerprints

API_SECRET: Final = "the-secret-of-the-tests-is-not-a-secret"
ADMIN_KEY: Final = "wgl_TestAdmin000_TheTestsAdminKeyIsNoSecret00001F4D7Q"


async def add_admin_key(url: str, schema: str = "waggle") -> None:
    """Write the key, as `waggle keys create --direct` does, with a fixed text."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            f"INSERT INTO {schema}.api_keys (id, comment, scopes, secret, created_by) VALUES ('TestAdmin000', 'the tests', ARRAY['admin'], $1, 'test')",
            Fingerprints(API_SECRET).of(ADMIN_KEY.encode()),
        )
    finally:
        await connection.close()
