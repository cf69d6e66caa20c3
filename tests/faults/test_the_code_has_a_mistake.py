"""A mistake in the code does not count as an outage: the service ends with exit code 1 and logs the error."""

from pathlib import Path

import pytest

from support.processes import mistaken
from support.system import Services

AS_TEXT = "length(CAST(:most AS text))"  # data that does not fit: asyncpg refuses a number for a text
ONE_MORE = " OFFSET $1;"  # an argument that the code does not pass


@pytest.mark.parametrize(
    ("service", "file", "right", "wrong", "error"),
    [
        ("scheduler", "store/sql/tasks/fail_overdue.sql", ":most", AS_TEXT, "DataError"),
        ("scheduler", "store/sql/leases/standing.sql", ";", ONE_MORE, "InterfaceError"),
        ("dlq", "store/sql/redrives/next.sql", ";", ONE_MORE, "InterfaceError"),
        ("worker", "store/sql/leases/renew.sql", ":id ", "CAST(CAST(:id AS integer) AS text) ", "DataError"),
        ("worker", "store/sql/queues/paused.sql", ":names::text[]", "CAST(:names AS integer[])::text[]", "DataError"),
        ("scheduler", "bus/subjects.py", 'f"$JS.API.CONSUMER.NAMES.', 'f"$JS.API.CONSUMER NAMES.', "BadSubjectError"),
        ("api", "store/sql/types/list.sql", ";", ONE_MORE, "InterfaceError"),
    ],
)
async def test_the_service_ends_and_says_why(start: Services, lanes: None, folder: Path, service: str, file: str, right: str, wrong: str, error: str) -> None:
    process = start.launch(service, environ=mistaken(file, right, wrong, folder / "broken"))
    assert await process.ended() == 1
    (crashed,) = process.logged("crashed")
    assert error in crashed["error"]
