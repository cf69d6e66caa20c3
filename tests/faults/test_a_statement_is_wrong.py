"""A mistake in the code is not waited out as if a server were away: the service ends with exit code 1 and says what happened."""

from pathlib import Path

import pytest

from support.processes import broken_statement
from support.system import Services

AS_TEXT = "length(CAST(:most AS text))"  # asyncpg takes no number for a text: data that does not fit
ONE_MORE = " OFFSET $1;"  # an argument that nobody passes


@pytest.mark.parametrize(
    ("service", "statement", "right", "wrong", "error"),
    [
        ("scheduler", "tasks/fail_overdue", ":most", AS_TEXT, "DataError"),
        ("scheduler", "tasks/next_due", ";", ONE_MORE, "InterfaceError"),
        ("dlq", "redrives/next", ";", ONE_MORE, "InterfaceError"),
        ("worker", "leases/renew", ":id ", "CAST(CAST(:id AS integer) AS text) ", "DataError"),
        ("worker", "queues/paused", ":names::text[]", "CAST(:names AS integer[])::text[]", "DataError"),
        ("api", "types/list", ";", ONE_MORE, "InterfaceError"),
    ],
)
async def test_the_service_ends_and_says_why(
    start: Services, lanes: None, folder: Path, service: str, statement: str, right: str, wrong: str, error: str
) -> None:
    process = start.launch(service, environ=broken_statement(statement, right, wrong, folder / "broken"))
    assert await process.ended() == 1
    (crashed,) = process.logged("crashed")
    assert error in crashed["error"]
