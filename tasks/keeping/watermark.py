"""The watermark of a mirror: the moment up to which all that Alyx registers for a selection is settled in the ledger.

It lies beside the ledger, one file a selection. It is taken before Alyx is asked, and moves only after every transfer
of the plan is settled; so what is killed, or dies half-way, is listed again by the next run.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.clients.tree import OURS, Tree
from tasks.clients.verdicts import os_error

if TYPE_CHECKING:
    from tasks.selection import Selection

#: Alyx's times carry no zone and its clock is not ours, so that a change may look half a day older than it is; and a
#: transaction that is committed late carries the time at which it began.
OVERLAP = timedelta(hours=24)
#: What a selection says about how files come, not about which.
_HOW = {"protocols", "repositories", "avoid_repositories"}


@dataclass(frozen=True, slots=True)
class Watermark:
    """The watermark of one selection of one Alyx under one root.

    Attributes:
        path: Its file; there is none before the first complete run.
    """

    path: Path

    @classmethod
    def of(cls, root: Path, alyx: str, selection: Selection) -> Watermark:
        """Find the one that belongs to what is mirrored; another selection has another one."""
        which = selection.model_dump_json(exclude=_HOW)
        key = hashlib.sha256(f"{alyx} {which}".encode()).hexdigest()[:16]
        return cls(root / OURS / "mirrors" / f"{key}.json")

    def read(self) -> datetime | None:
        """Return the moment, in UTC; None where nothing was complete yet, or the file cannot be read."""
        try:
            return datetime.fromisoformat(json.loads(self.path.read_text())["settled_until"])
        except (OSError, ValueError, TypeError, KeyError):
            return None  # all is listed again, and nothing is lost

    def since(self) -> datetime | None:
        """Return the moment from which on changes are asked for: the watermark and an overlap before it."""
        settled = self.read()
        return settled and settled - OVERLAP

    def advance(self, settled_until: datetime) -> None:
        """Move forward; never back, whichever of two runs at once ends last.

        Raises:
            DownloadError: `disk-full`, `read-only` or `local-io`; the watermark is then what it was.
        """
        before = self.read()
        if before is None or before < settled_until:
            try:
                self._write({"settled_until": settled_until.isoformat()})
            except OSError as failure:
                raise os_error(failure, self.path) from failure

    def _write(self, content: dict[str, str]) -> None:
        Tree(self.path.parents[2]).prepare()
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self.path.parent, delete=False) as file:
            try:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(self.path)
            finally:
                Path(file.name).unlink(missing_ok=True)
