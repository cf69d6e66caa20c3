"""Alembic's entry: it migrates on the connection that `waggle.store.migrate` opened, each migration in a transaction of its own, or writes SQL.

`home` is the schema that holds the tables and Alembic's version table now; `schema` is the one that they belong in. The session's search path is `home`.
"""

from alembic import context

attributes = context.config.attributes
if context.is_offline_mode():
    context.configure(dialect_name="postgresql", transaction_per_migration=True, version_table_schema=attributes["home"])
else:
    context.configure(connection=attributes["connection"], transaction_per_migration=True, version_table_schema=attributes["home"])
with context.begin_transaction():
    context.run_migrations()
