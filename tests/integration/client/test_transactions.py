"""Tasks inside a transaction of one's own, by each library: a commit makes them, and a rollback leaves nothing."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import psycopg
import pytest
import sqlalchemy
import sqlalchemy.orm
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from support.client_handlers import add
from support.keys import ADMIN_KEY
from support.one_system import OneSystem
from waggle import Client, SyncClient, new_task
from waggle.client.errors import TaskNotFoundError

Work = Callable[[Any], Any]


class Undone(Exception):
    """Rolls a transaction back."""


async def by_asyncpg(url: str, work: Work) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await work(connection)
    finally:
        await connection.close()


async def by_psycopg(url: str, work: Work) -> None:
    async with await psycopg.AsyncConnection.connect(url, row_factory=psycopg.rows.dict_row) as connection:
        await work(connection)


async def by_sqlalchemy(url: str, work: Work) -> None:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    try:
        async with engine.begin() as connection:
            await work(connection)
    finally:
        await engine.dispose()


async def by_session(url: str, work: Work) -> None:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        async with AsyncSession(engine) as session, session.begin():
            await work(session)
    finally:
        await engine.dispose()


def by_plain_psycopg(url: str, work: Work) -> None:
    with psycopg.connect(url) as connection:
        work(connection)


def by_plain_sqlalchemy(url: str, work: Work) -> None:
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.begin() as connection:
            work(connection)
        with sqlalchemy.orm.Session(engine) as session, session.begin():
            work(session)
        scoped = sqlalchemy.orm.scoped_session(sqlalchemy.orm.sessionmaker(engine))
        with scoped.begin():
            work(scoped)
        scoped.remove()
    finally:
        engine.dispose()


def by_django(url: str, work: Work) -> None:
    import django
    from django.conf import settings
    from django.db import connections, transaction

    parts = sqlalchemy.make_url(url)
    place = {"HOST": parts.host, "PORT": parts.port, "NAME": parts.database, "USER": parts.username, "PASSWORD": parts.password}
    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **place}})
        django.setup()
    try:
        with transaction.atomic():
            work(connections["default"])
    finally:
        connections.close_all()


@pytest.mark.parametrize("library", [by_asyncpg, by_psycopg, by_sqlalchemy, by_session])
async def test_coroutines_submit_in_their_transaction(system: OneSystem, library: Any) -> None:
    async with Client(system.api.api_url, ADMIN_KEY) as client:
        handles: list[Any] = []

        async def work(connection: Any) -> None:
            within = client.in_transaction(connection)
            first = await within.submit(add.options(priority="high").prepare(1, b=2))
            with pytest.raises(TaskNotFoundError):
                await first.task()
            handles.append(first)
            handles.append(await within.enqueue("shop.add", {"a": 2}, idempotency_key=uuid4().hex))
            handles.extend(await within.submit_many([add.prepare(10), add.prepare(20)]))

        await library(system.settings.postgres_url, work)
        assert [await handle.result(60) for handle in handles] == [3, 3, 11, 21]
        kept = len(handles)

        async def fail(connection: Any) -> None:
            await work(connection)
            raise Undone

        with pytest.raises(Undone):
            await library(system.settings.postgres_url, fail)
        for handle in handles[kept:]:
            with pytest.raises(TaskNotFoundError):
                await handle.task()


@pytest.mark.parametrize("library", [by_plain_psycopg, by_plain_sqlalchemy, by_django])
async def test_threads_submit_in_their_transaction(system: OneSystem, library: Any) -> None:
    def in_a_thread() -> None:
        with SyncClient(system.api.api_url, ADMIN_KEY) as client:
            handles: list[Any] = []

            def work(connection: Any) -> None:
                within = client.in_transaction(connection)
                handles.append(within.submit(add.prepare(1, b=2)))
                handles.extend(within.submit_many([add.prepare(10), add.prepare(20)]))

            library(system.settings.postgres_url, work)
            assert [handle.result(60) for handle in handles] == [3, 11, 21] * (len(handles) // 3)
            kept = len(handles)

            def fail(connection: Any) -> None:
                work(connection)
                raise Undone

            with pytest.raises(Undone):
                library(system.settings.postgres_url, fail)
            for handle in handles[kept:]:
                with pytest.raises(TaskNotFoundError):
                    handle.task()

    await asyncio.to_thread(in_a_thread)


async def test_another_kind_of_connection_is_refused(system: OneSystem) -> None:
    async with asyncpg.create_pool(system.settings.postgres_url, min_size=0) as pool, Client(system.api.api_url, ADMIN_KEY) as client:
        with pytest.raises(TypeError, match="is not a connection of asyncpg"):
            await client.in_transaction(pool).submit(new_task("shop.add", {"a": 1}))
    async with Client(system.api.api_url, ADMIN_KEY) as client:
        with pytest.raises(TypeError, match=r"builtins\.str is not a connection of asyncpg"):
            await client.in_transaction("postgresql://…").submit(new_task("shop.add", {"a": 1}))
    with SyncClient(system.api.api_url, ADMIN_KEY) as other, pytest.raises(TypeError, match="is not a Connection of psycopg"):
        other.in_transaction(UUID(int=1)).submit(new_task("shop.add", {"a": 1}))
