"""Alembic's entry: it migrates on the connection that `waggle.store.migrate` opened and locked."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
