"""Brings the tables of an older ledger to what this release knows; each step is a file in `versions`.

A new step also belongs into `tasks.ledgers.tables`: its tables, and its name as the last of `VERSIONS`. A new ledger is
made from there; a test compares the two ways.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    import sqlalchemy as sa


def upgrade(connection: sa.Connection, found: str) -> None:
    """Upgrade within the caller's transaction: all steps, or none.

    Args:
        connection: Of the ledger; no other process may upgrade it now.
        found: Its version. The first releases did not use Alembic, so it is noted for them.
    """
    config = Config()
    config.set_main_option("script_location", "tasks.ledgers:migrations")
    config.attributes["connection"] = connection
    command.stamp(config, found)
    command.upgrade(config, "head")
