"""Postgres, the one truth: connections, migrations, and one SQL file a statement."""
