"""The journal of submissions: what is sent to Globus is on disk before it is sent.

So a crash at any moment loses no task and makes none twice: the same document is sent again, and Globus
answers with the task that it led to. A submission is a file `<submission id>.<owner>.task`, claimed by atomic
rename as partials are: what the run of a living process moves, no other run touches.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.clients.folder import Folder, made_below_ours, patiently
from tasks.clients.globus.batches import staged_names
from tasks.clients.owners import FREE, is_free, owner
from tasks.clients.verdicts import os_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

SUFFIX = ".task"


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


class Journal:
    """The submissions of one tree that have not ended; what is written is durable when a call returns.

    Args:
        directory: On the file system of the tree; made when it is needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._who = owner()

    def begin(self, entry: Entry) -> None:
        """Write down what is about to be sent.

        Raises:
            DownloadError: `disk-full`, `read-only` or `local-io`; `not-ours`.
        """
        try:
            patiently(lambda: self._write(entry))
        except OSError as failure:
            raise os_error(failure, self._directory) from failure

    def submitted(self, submission_id: str, document: dict[str, Any], task_id: str) -> None:
        """Add the task that a submission led to.

        Raises:
            DownloadError: as :meth:`begin`.
        """
        self.begin(Entry(submission_id, document, task_id))

    def ended(self, submission_id: str) -> None:
        """Forget a submission: nothing will be looked up there any more."""
        with contextlib.suppress(FileNotFoundError):
            Folder(self._directory).unlink(self._mine(submission_id))

    def renew(self, submission_id: str) -> None:
        """Show other machines that somebody still watches."""
        with contextlib.suppress(FileNotFoundError):  # another machine has taken it over
            _touch(Folder(self._directory), self._mine(submission_id))

    def claim(self, entry: Entry) -> bool:
        """Make a submission ours, unless somebody alive holds it."""
        with contextlib.suppress(FileNotFoundError):
            folder = Folder(self._directory)
            for name in _names(folder, entry.submission_id):
                if is_free(folder, name):
                    folder.rename(name, self._mine(entry.submission_id))
                    _touch(folder, self._mine(entry.submission_id))
                    return True
        return False

    def is_held(self, submission_id: str) -> bool:
        """Whether a submission is open, and somebody alive holds it."""
        with contextlib.suppress(FileNotFoundError):
            folder = Folder(self._directory)
            return any(not is_free(folder, name) for name in _names(folder, submission_id))
        return False

    def entries(self) -> list[Entry]:
        """The submissions that are not closed, whoever holds them; what cannot be read is left alone."""
        with contextlib.suppress(FileNotFoundError):
            folder = Folder(self._directory)
            return [entry for name in _names(folder) if (entry := _read(folder, name))]
        return []

    def close(self) -> None:
        """Let other runs have what is still open."""
        with contextlib.suppress(FileNotFoundError):
            folder = Folder(self._directory)
            for name in _names(folder):
                submission_id, _, who = name.removesuffix(SUFFIX).partition(".")
                if who == self._who:
                    folder.rename(name, f"{submission_id}.{FREE}{SUFFIX}")

    def prune(self, is_over: Callable[[os.stat_result], bool]) -> None:
        """Remove what runs that died left: submissions nobody took up for so long, files no open submission names."""
        with contextlib.suppress(FileNotFoundError):
            folder = Folder(self._directory)
            _remove(folder, _names(folder), lambda name: is_over(folder.stat(name)) and is_free(folder, name))
            wanted: set[str] = set().union(*(staged_names(entry.document) for entry in self.entries()))
            others = [name for name in folder.names() if not name.endswith(SUFFIX) and name not in wanted]
            _remove(folder, others, lambda name: is_over(folder.stat(name)))

    def _mine(self, submission_id: str) -> str:
        return f"{submission_id}.{self._who}{SUFFIX}"

    def _write(self, entry: Entry) -> None:
        folder, name = made_below_ours(self._directory), self._mine(entry.submission_id)
        new = f".new-{name}"
        descriptor = folder.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"task_id": entry.task_id, "document": entry.document}, file)
            file.flush()
            os.fsync(descriptor)
        folder.rename(new, name)
        os.fsync(folder.fd)


def _names(folder: Folder, submission_id: str = "") -> list[str]:
    """Names of submissions, or of one."""
    begin = f"{submission_id}." if submission_id else ""
    names = (name for name in folder.names() if name.endswith(SUFFIX) and name[0] != ".")
    return sorted(name for name in names if name.startswith(begin))


def _read(folder: Folder, name: str) -> Entry | None:
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):  # ended meanwhile, or none of ours
        with os.fdopen(folder.open(name, os.O_RDONLY), encoding="utf-8") as file:
            content = json.load(file)
        return Entry(name.partition(".")[0], {**content["document"]}, str(content["task_id"]))
    return None


def _remove(folder: Folder, names: Iterable[str], goes: Callable[[str], bool]) -> None:
    for name in names:
        with contextlib.suppress(OSError):  # another run prunes too, or nothing can be removed here
            if goes(name):
                folder.unlink(name)


def _touch(folder: Folder, name: str) -> None:
    os.utime(name, dir_fd=folder.fd, follow_symlinks=False)
