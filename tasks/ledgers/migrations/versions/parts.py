"""What became of a run is read by run and path, a part at a time: an index for that, in place of the one by run."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Exchange the index, and tell the first releases to leave this ledger alone."""
    op.create_index("ix_transfers_run_path", "transfers", ["run", "path"])
    op.drop_index("ix_transfers_run", "transfers")
    op.execute("UPDATE ledger_version SET version = 3")
