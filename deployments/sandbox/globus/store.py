"""What outlives a restart: documents in one SQLite file, by kind and key, in the order they came."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Json = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    kind TEXT, key TEXT, body TEXT, PRIMARY KEY (kind, key)
)
"""
PUT = """
INSERT INTO documents VALUES (?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET body = excluded.body
"""


class Store:
    """JSON documents on disk; the caller serialises its calls and decides when to commit."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False)
        # A killed emulator must find its tables again; a power cut may cost the sandbox a second.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(SCHEMA)

    def load(self, kind: str) -> list[tuple[str, Json]]:
        """All documents of a kind with their keys, oldest first."""
        rows = self._db.execute("SELECT key, body FROM documents WHERE kind = ? ORDER BY rowid", (kind,))
        return [(key, json.loads(body)) for key, body in rows]

    def put(self, kind: str, documents: Iterable[tuple[str, Json]]) -> None:
        """Add or replace documents; they are safe after :meth:`commit`."""
        self._db.executemany(PUT, ((kind, key, json.dumps(body)) for key, body in documents))

    def commit(self) -> None:
        """Make what was put survive the process."""
        self._db.commit()

    def close(self) -> None:
        """Commit and let go of the file."""
        self._db.commit()
        self._db.close()
