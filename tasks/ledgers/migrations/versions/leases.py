"""Leases on plans; paths that PostgreSQL orders as SQLite does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the leases, order paths by their bytes, and tell the first releases to leave this ledger alone."""
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sqlite_with_rowid=False,
    )
    if op.get_context().dialect.name == "postgresql":
        for table in ("proofs", "transfers"):
            op.alter_column(table, "path", type_=sa.Text(collation="C"))
    op.execute("UPDATE ledger_version SET version = 2")
