"""The REST client: where it finds the API, and how it says that something else answers, or nothing."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from waggle_cli.commands.session import Exit, exit_code
from waggle_cli.rest.address import Address, find
from waggle_cli.rest.client import Api
from waggle_cli.rest.errors import ApiError, Unreachable, WrongUrl

SECONDS = 10.0


def ended(thread: threading.Thread) -> None:
    thread.join(SECONDS)
    assert not thread.is_alive(), f"{thread} goes on"


def announce(folder: Path, content: str) -> Path:
    """What `waggle up` leaves in a folder."""
    file = folder / ".waggle" / "up.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    return file


def test_the_option_comes_before_the_variable_and_that_before_the_folder(tmp_path: Path) -> None:
    file = announce(tmp_path, '{"api_url": "http://folder"}')
    assert find("http://option", {"WAGGLE_URL": "http://variable"}, tmp_path) == Address("http://option", "--url")
    assert find("", {"WAGGLE_URL": "http://variable"}, tmp_path) == Address("http://variable", "WAGGLE_URL")
    assert find("", {"WAGGLE_URL": ""}, tmp_path) == Address("http://folder", str(file))


def test_the_nearest_folder_above_counts(tmp_path: Path) -> None:
    announce(tmp_path, '{"api_url": "http://far"}')
    announce(tmp_path / "a", '{"api_url": "http://near"}')
    assert find("", {}, tmp_path / "a" / "b" / "c").url == "http://near"


def test_without_any_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no Waggle found: start one with `waggle up`, or give --url"):
        find("", {}, tmp_path)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"api_url'])
def test_a_file_without_an_address_is_named(content: str, tmp_path: Path) -> None:
    announce(tmp_path, content)
    with pytest.raises(Unreachable, match=r"up\.json does not say where the API is .*; give --url"):
        find("", {}, tmp_path)


def test_another_users_waggle_is_not_used_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    announce(tmp_path, '{"api_url": "http://folder"}')
    monkeypatch.setattr("os.geteuid", lambda: 4711)
    with pytest.raises(Unreachable, match="belongs to another user; give --url"):
        find("", {}, tmp_path)


@pytest.mark.parametrize("url", ["localhost:8420", "ftp://host", "http://", "http://a\x01b", "//host", "8420"])
def test_what_cannot_be_an_address_is_refused(url: str, tmp_path: Path) -> None:
    for option, environ in ((url, {}), ("", {"WAGGLE_URL": url})):
        with pytest.raises(WrongUrl, match="--url" if option else "WAGGLE_URL"):
            find(option, environ, tmp_path)


class Stranger(BaseHTTPRequestHandler):
    """A server that is not Waggle: its path says how it answers."""

    timeout = SECONDS  # for a client that connects and says nothing

    def do_GET(self) -> None:
        answers = {"/html": (404, "text/html", b"<p>no"), "/json": (404, "application/json", b'{"error": 1}'), "/list": (200, "application/json", b"[]")}
        answers |= {"/gateway": (502, "text/plain", b"bad gateway"), "/moved": (301, "application/json", b"{}")}
        status, kind, body = answers[self.path.removesuffix("/api/tasks")]
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def stranger() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Stranger) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.shutdown, daemon=True).start()  # it waits, too, and without a bound
        ended(thread)


@pytest.mark.parametrize(("path", "status"), [("html", 404), ("json", 404), ("list", 200), ("gateway", 502), ("moved", 301)])
def test_a_server_that_is_not_waggle_is_recognised(path: str, status: int, stranger: str) -> None:
    with Api(Address(f"{stranger}/{path}", "--url")) as client, pytest.raises(Unreachable, match=rf"not as a Waggle API \(status {status}, ") as told:
        client.get("tasks")
    assert exit_code(told.value) is Exit.UNAVAILABLE


@contextmanager
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:  # bound and not listening: refused, and nobody else's
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_an_unreachable_address_is_reported_with_its_source() -> None:
    with closed_port() as port, Api(Address(f"http://127.0.0.1:{port}", "WAGGLE_URL")) as client, pytest.raises(Unreachable) as told:
        client.get("tasks")
    assert str(told.value) == f"http://127.0.0.1:{port} (from WAGGLE_URL) does not answer: Connection refused"
    assert not told.value.unknown


def test_a_password_in_an_address_is_not_printed(tmp_path: Path) -> None:
    with pytest.raises(WrongUrl) as wrong:
        find("", {"WAGGLE_URL": "http://anna:hunter2@host:port"}, tmp_path)
    with closed_port() as port, Api(Address(f"http://anna:hunter2@127.0.0.1:{port}", "--url")) as client, pytest.raises(Unreachable) as away:
        client.get("tasks")
    assert "hunter2" not in f"{wrong.value}{away.value}"
    assert f"http://anna:***@127.0.0.1:{port} does not answer" in str(away.value)


def test_a_connection_that_is_lost_leaves_open_whether_the_task_was_accepted() -> None:
    def hang_up() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(SECONDS)
            connection.recv(1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as listener, Api(Address(f"http://127.0.0.1:{listener.getsockname()[1]}", "--url")) as client:
        listener.settimeout(SECONDS)
        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(Unreachable, match="was lost") as told:
            client.submit(b'{"type": "x"}', "key")
        ended(thread)
    assert told.value.unknown


PROBLEMS = {400: Exit.REFUSED, 401: Exit.REFUSED, 404: Exit.NOT_FOUND, 409: Exit.REFUSED, 422: Exit.REFUSED, 429: Exit.REFUSED, 503: Exit.UNAVAILABLE}


@pytest.mark.parametrize("status", PROBLEMS)
def test_a_problem_has_its_exit_code(status: int) -> None:
    assert exit_code(ApiError(status, {"code": "some", "detail": "why"})) is PROBLEMS[status]


def test_a_problem_holds_what_the_api_said() -> None:
    body = json.loads(
        '{"status": 422, "code": "validation_error", "title": "t", "detail": "1 field is not valid", "request_id": "r1", '
        '"errors": [{"field": "payload.to", "message": "is required"}]}'
    )
    problem = ApiError(422, body)
    assert (problem.status, problem.code, str(problem), problem.request_id) == (422, "validation_error", "1 field is not valid", "r1")
    assert problem.errors == [("payload.to", "is required")]
