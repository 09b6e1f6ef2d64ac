"""The ledger of a root, wherever the settings say that it lies: with the root, or in the database of a fleet."""

from __future__ import annotations

from pathlib import Path

from tasks.clients.verdicts import error
from tasks.ledger import Ledger
from tasks.ledgers.database import is_there
from tasks.ledgers.engines import ledger_file, schema_of
from tasks.settings import AlyxSettings


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


def known_ledger(root: Path) -> Ledger:
    """Open the ledger of a tree for reading, for those who work on what is there.

    Raises:
        DownloadError: `no-tree`: the root is mistyped, or its drive is not mounted, and all would seem well.
    """
    place = ledger_place(root)
    if not is_there(ledger_file(place) if isinstance(place, Path) else root):
        raise error("no-tree", f"{root} has no ledger." if root.is_dir() else f"{root} is not there.")
    return read_ledger(root)
