"""What Alembic runs to reach the ledger: it gets a connection whose transaction is begun and ended elsewhere."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
