"""The ledger of a root, wherever the settings say that it lies: with the root, or in the database of a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.ledger import Ledger
from tasks.ledger_engines import schema_of
from tasks.settings import AlyxSettings

if TYPE_CHECKING:
    from pathlib import Path


def ledger_place(root: Path) -> Path | str:
    """Say where the ledger of a root is.

    Raises:
        DownloadError: `settings`, or `ledger` for a URL that cannot be read.
    """
    url = AlyxSettings.read().ledger.get_secret_value()
    return schema_of(root, url) if url else root


def open_ledger(root: Path) -> Ledger:
    """Open the ledger of a root for reading and writing; see :meth:`Ledger.open`."""
    return Ledger.open(ledger_place(root))


def read_ledger(root: Path) -> Ledger:
    """Open the ledger of a root for reading; see :meth:`Ledger.read_only`."""
    return Ledger.read_only(ledger_place(root))
