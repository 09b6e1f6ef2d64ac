"""The tables of the first releases, which were made without Alembic: where all ledgers begin."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing to do: what a ledger of this version has, it has."""
