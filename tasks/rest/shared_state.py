"""A small state that the processes of a machine share: a private file of JSON behind a lock."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

#: Nobody holds the lock for longer than it takes to read and write some bytes.
_PATIENCE_SECONDS = 5
#: It is free again in less than a millisecond.
_LOOK_SECONDS = 0.002

_log = logging.getLogger(__name__)


class SharedState:
    """A state that one thread of one process at a time reads and writes.

    Where the file cannot be used, the process keeps the state for itself and says so once.

    Args:
        path: The file; None for this object alone.
        what: What it is about, for that message.
    """

    def __init__(self, path: Path | None, what: str) -> None:
        self._path = path
        self._what = what
        self._lock = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep all others out."""
        with self._lock, self._exclusive():
            yield

    def read(self) -> Any:
        """Return what was written last; None where nothing can be read."""
        try:
            return json.loads(self._path.read_text()) if self._path else None
        except (OSError, ValueError):
            return None

    def write(self, state: Any) -> None:
        """Write for the others to read."""
        if self._path:
            with suppress(OSError):  # a full /tmp: what is in memory still counts
                self._path.write_text(json.dumps(state))

    def _exclusive(self) -> AbstractContextManager[object]:
        if self._path is None:
            return nullcontext()
        try:
            return FileLock(f"{self._path}.lock").acquire(timeout=_PATIENCE_SECONDS, poll_interval=_LOOK_SECONDS)
        except (OSError, Timeout) as failure:
            _log.warning("%s counted in this process only: %s", self._what, failure)
            self._path = None
            return nullcontext()


def shared_file(name: str) -> Path | None:
    """Return a file that all processes of this user share on this machine; None where no private place is found."""
    owner = os.getuid()
    directory = Path(tempfile.gettempdir()) / f"prefect-alyx-{owner}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        private = not directory.is_symlink() and directory.stat().st_uid == owner
    except OSError:
        return None
    return directory / name if private else None
