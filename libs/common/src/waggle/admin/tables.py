"""The administrative tables, as the migrations make them (a test compares both)."""

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, DateTime, FetchedValue, Integer, LargeBinary, MetaData, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY

METADATA: Final = MetaData()

API_KEYS: Final = Table(
    "api_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("comment", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("queues", ARRAY(Text)),
    Column("types", ARRAY(Text)),
    Column("secret", LargeBinary, nullable=False),
    Column("previous_secret", LargeBinary),
    Column("previous_until", DateTime(timezone=True)),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires", DateTime(timezone=True)),
    Column("revoked", DateTime(timezone=True)),
    Column("last_used", DateTime(timezone=True)),
)

USERS: Final = Table(
    "users",
    METADATA,
    Column("id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("password", Text),
    Column("subject", Text),
    Column("disabled", Boolean, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("last_login", DateTime(timezone=True)),
)

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("id", Uuid, primary_key=True, server_default=FetchedValue()),
    Column("user_id", Uuid, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("refreshed", DateTime(timezone=True), nullable=False),
    Column("expires", DateTime(timezone=True), nullable=False),
    Column("ended", DateTime(timezone=True)),
)

PUBLISHERS: Final = Table(
    "publishers",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("password", Text, nullable=False),
    Column("queues", ARRAY(Text)),
    Column("types", ARRAY(Text)),
    Column("events", Boolean, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("rotated", DateTime(timezone=True)),
)

AUDIT_TRAIL: Final = Table(
    "audit_trail",
    METADATA,
    Column("seq", BigInteger, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("before", JSON),
    Column("after", JSON),
    Column("hash", LargeBinary, nullable=False),
)

BLOCKED_ADDRESSES: Final = Table(
    "blocked_addresses",
    METADATA,
    Column("address", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
)
