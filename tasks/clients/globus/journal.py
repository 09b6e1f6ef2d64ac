"""The journal of submissions: what was sent to Globus is on disk before it is sent.

So a crash at any moment loses no task and makes none twice: the same document is sent again, and Globus
answers with the task that it led to.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from tasks.clients.verdicts import os_error

if TYPE_CHECKING:
    from pathlib import Path


class Stage(StrEnum):
    """How far a submission has come."""

    READY = "ready"  # written down, perhaps sent
    SUBMITTED = "submitted"  # Globus has a task for it
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Entry:
    """One submission.

    Attributes:
        document: Exactly what is sent.
        task_id: Globus's task, once it is known.
    """

    submission_id: str
    document: dict[str, Any]
    task_id: str = ""


class Journal(Protocol):
    """Where submissions are written down; each call is durable when it returns."""

    def begin(self, entry: Entry) -> None:
        """Write down what is about to be sent."""
        ...

    def submitted(self, submission_id: str, task_id: str) -> None:
        """Add the task that a submission led to."""
        ...

    def ended(self, submission_id: str, stage: Stage) -> None:
        """Close a submission: nothing will be looked up there any more."""
        ...

    def open_entries(self) -> list[Entry]:
        """The submissions that are not closed, oldest first."""
        ...


class SqliteJournal:
    """A journal in one SQLite file, under `<root>/.prefect-alyx/`.

    Raises:
        DownloadError: `read-only` or `disk-full`, where the file cannot be made.
    """

    _SCHEMA = """
    CREATE TABLE IF NOT EXISTS globus_submissions (
        submission_id TEXT PRIMARY KEY, stage TEXT NOT NULL, task_id TEXT NOT NULL, document TEXT NOT NULL)
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
        except OSError as failure:
            raise os_error(failure, path) from failure
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(self._SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def begin(self, entry: Entry) -> None:
        """Write down what is about to be sent; see :class:`Journal`."""
        stage = Stage.SUBMITTED if entry.task_id else Stage.READY
        row = (entry.submission_id, stage, entry.task_id, json.dumps(entry.document))
        self._execute("INSERT INTO globus_submissions VALUES (?, ?, ?, ?)", row)

    def submitted(self, submission_id: str, task_id: str) -> None:
        """Add the task that a submission led to."""
        statement = "UPDATE globus_submissions SET stage = ?, task_id = ? WHERE submission_id = ?"
        self._execute(statement, (Stage.SUBMITTED, task_id, submission_id))

    def ended(self, submission_id: str, stage: Stage) -> None:
        """Close a submission; its document is not needed any more."""
        statement = "UPDATE globus_submissions SET stage = ?, document = '{}' WHERE submission_id = ?"
        self._execute(statement, (stage, submission_id))

    def open_entries(self) -> list[Entry]:
        """The submissions that are not closed, oldest first."""
        statement = (
            "SELECT submission_id, document, task_id FROM globus_submissions WHERE stage IN (?, ?) ORDER BY rowid"
        )
        rows = self._execute(statement, (Stage.READY, Stage.SUBMITTED))
        return [Entry(submission_id, json.loads(document), task_id) for submission_id, document, task_id in rows]

    def _execute(self, statement: str, values: tuple[str, ...]) -> list[tuple[str, str, str]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()
