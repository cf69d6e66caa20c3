"""Pieces of the client that need no server: what it reads from bytes, what it writes of a payload, and its errors."""

import copy
import inspect
import pickle
import sys
from datetime import date
from functools import partial

import msgspec
import pytest
from pydantic import BaseModel, Field, SecretBytes, SecretStr, computed_field

from waggle import App, Context
from waggle.client import errors
from waggle.client.answers import TaskSnapshot, read_task
from waggle.client.wire import ResponseReader, request
from waggle.task import Task

app = App()


class Login(BaseModel, extra="forbid"):
    user: str = Field(alias="userName")
    password: SecretStr
    others: dict[str, list[SecretBytes]] = {}
    codes: set[SecretStr] = set()
    rooms: set[str] = set()
    since: date = date(2026, 1, 1)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def shown(self) -> str:
        return self.user


@app.task("user.login")
async def log_in(ctx: Context, login: Login, again: str | None = None) -> str:
    return login.password.get_secret_value()


def test_a_secret_arrives_and_the_handler_reads_what_is_sent() -> None:
    login = Login(
        userName="anna", password=SecretStr("s3cret"), others={"a": [SecretBytes(b"x"), SecretBytes(b"y")]}, codes={SecretStr("1"), SecretStr("2")}, rooms={"a"}
    )
    sent = msgspec.json.decode(log_in.prepare(login).text)["payload"]
    assert sorted(sent["login"].pop("codes")) == ["1", "2"]
    assert sent["login"] == {"rooms": ["a"], "userName": "anna", "password": "s3cret", "others": {"a": ["x", "y"]}, "since": "2026-01-01"}
    assert log_in.arguments(msgspec.json.encode(sent).decode())["login"] == login.model_copy(update={"codes": set()})


def test_a_copy_of_a_handler_is_another_one_and_a_pickle_the_same() -> None:
    copied = copy.copy(log_in)
    assert copied is not log_in
    assert copied.function is log_in.function
    assert pickle.loads(pickle.dumps(log_in)) is log_in  # noqa: S301  # our own


def test_options_before_enqueue_many_are_a_mistake_that_is_named() -> None:
    with pytest.raises(TypeError, match="enqueue_many takes tasks that are prepared"):
        log_in.options(delay=60).enqueue_many([]).send(None)


def test_a_handler_with_some_arguments_is_the_handler_of_another_type() -> None:
    made = app.task("user.login.anna")(partial(log_in, again=None))
    assert (made.is_async, made.takes_context, list(made.schema["properties"])) == (True, True, ["login", "again"])


def test_others_see_that_a_handler_is_a_coroutine_function_where_python_has_a_mark_for_it() -> None:
    assert inspect.iscoroutinefunction(log_in) == (sys.version_info >= (3, 12))


TASK = {
    "id": "01a225e1-ff44-7452-96de-0813cf164fdc", "type": "a", "status": "failed", "priority": 0, "description": "", "created": "2026-01-01T00:00:00Z",
    "updated": "2026-01-01T00:00:00Z", "retry_count": 0, "max_retries": 0, "metadata": {}, "queue": "q", "run_at": "2026-01-01T00:00:00Z", "attempt": 1,
    "timeout": 1.0, "result": {"a": 1},
}  # fmt: skip


def test_all_that_the_api_shows_of_a_task_is_read() -> None:
    def names(kind: type) -> set[str]:
        return {field.encode_name for field in msgspec.structs.fields(kind)}

    assert names(Task) <= names(TaskSnapshot)


def test_errors_come_through_a_pickle() -> None:
    task = read_task(msgspec.json.encode(TASK))
    refused = errors.InvalidTaskError(422, {"code": "validation_error", "errors": [{"field": "a", "message": "wrong"}]}, 2.0)
    for error in (refused, errors.TaskFailedError(task), errors.TaskTimeoutError(task, 1.5), errors.UnreachableError("away", unknown=True)):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_an_error_of_somebody_elses_form_is_an_error_still() -> None:
    assert errors.ResponseError(500, {"code": 7, "errors": ["x"]}).errors == []
    assert errors.ResponseError(500, {"code": 7, "errors": "x"}).errors == []


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_an_answer_is_read_in_whatever_pieces_it_comes(size: int) -> None:
    text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    reader = ResponseReader()
    for start in range(0, len(text), size):
        assert reader.answer is None
        reader.feed(text[start : start + size])
    assert reader.answer
    assert (reader.answer.status, reader.answer.body, reader.answer.is_json, reader.reusable) == (201, b"{}", True, True)


def test_an_answer_that_nobody_asked_for_is_not_taken_and_the_connection_not_used_again() -> None:
    first = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1"
    for more in (first.replace(b"200", b"404"), first[:20]):
        reader = ResponseReader()
        reader.feed(first + more)
        assert reader.answer
        assert (reader.answer.status, reader.answer.body, reader.reusable) == (200, b"1", False)


@pytest.mark.parametrize("value", ["", " a", "a\r\nb: c", "ä"])
def test_a_header_that_cannot_be_sent_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="the header idempotency-key is printable ASCII"):
        request("POST", "/api/tasks", "localhost", {"idempotency-key": value}, b"{}")
