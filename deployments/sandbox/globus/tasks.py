"""A transfer task as the service sees it: subtasks, their fates, and what is known of its health.

Every item of a submission is scanned (one subtask); a scan finds directories to make and files to
copy (one subtask each). So `subtasks_total = items + directories + files`, as in every public
task document.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployments.sandbox.globus.store import Json


class Kind(StrEnum):
    """What a subtask does."""

    SCAN = "scan"
    MKDIR = "mkdir"
    COPY = "copy"


class Fate(StrEnum):
    """How a subtask stands; the names are those of the `subtasks_*` counters."""

    PENDING = "pending"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped_errors"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


OPEN = (Fate.PENDING, Fate.RETRYING)


@dataclass(eq=False)
class Subtask:
    """One scan, directory or file.

    Attributes:
        item: The submitted item it comes from.
        synced: The sync level found the destination good: nothing was moved, and nothing is listed.
        offset: Bytes of the file at the destination so far.
        trouble: Code, details and time of the error for which it was skipped.
    """

    number: int
    kind: str
    source: str
    destination: str
    item: Json = field(default_factory=dict)
    fate: str = Fate.PENDING
    size: int = 0
    checksum: str | None = None
    synced: bool = False
    offset: int = 0
    retry_at: float = 0.0
    trouble: Json | None = None


@dataclass(eq=False)
class Task:
    """One transfer task; what its own row on disk holds, and the subtasks and events, which have rows of theirs."""

    id: str
    request: Json
    requested: float
    deadline: float
    deadline_fixed: bool
    label: str | None = None
    status: str = "ACTIVE"
    completed: float | None = None
    fatal: Json | None = None
    paused: bool = False
    nice: str = "Queued"
    nice_text: str = "Queued"
    nice_details: str | None = None
    faults: int = 0
    bytes_moved: int = 0
    bytes_checksummed: int = 0
    backoff_until: float = 0.0

    subtasks: list[Subtask] = field(default_factory=list, init=False)
    events: list[Json] = field(default_factory=list, init=False)
    _todo: deque[Subtask] = field(default_factory=deque, init=False)
    _tally: Counter[tuple[str, str]] = field(default_factory=Counter, init=False)

    @property
    def ended(self) -> bool:
        """Whether the task has come to its end, good or bad."""
        return self.status in ("SUCCEEDED", "FAILED")

    def add(self, subtasks: Iterable[Subtask]) -> None:
        """Take in subtasks, new ones or those loaded from disk."""
        for subtask in subtasks:
            self.subtasks.append(subtask)
            self._tally[subtask.kind, subtask.fate] += 1
            if subtask.fate in OPEN:
                self._todo.append(subtask)

    def next(self, now: float) -> Subtask | None:
        """The next subtask that may be worked on; those that wait for a retry go to the back."""
        for _ in range(len(self._todo)):
            if self._todo[0].retry_at <= now:
                return self._todo[0]
            self._todo.rotate(-1)
        return None

    def settle(self, subtask: Subtask, fate: Fate) -> None:
        """Give a subtask its fate."""
        self._tally[subtask.kind, subtask.fate] -= 1
        subtask.fate = fate
        self._tally[subtask.kind, fate] += 1
        if fate not in OPEN:
            self._todo.remove(subtask)

    def settle_open(self, fate: Fate) -> list[Subtask]:
        """Give all unfinished subtasks the same fate."""
        left = [*self._todo]
        for subtask in left:
            self.settle(subtask, fate)
        return left

    def ready(self, now: float) -> bool:
        """Whether there is something to do now."""
        return self.status == "ACTIVE" and not self.paused and self.backoff_until <= now and self.next(now) is not None

    @property
    def retry_moments(self) -> list[float]:
        """When time alone makes the task ready again."""
        waiting = [subtask.retry_at for subtask in self._todo if subtask.fate == Fate.RETRYING]
        return [self.backoff_until, *waiting]

    def unhold(self) -> None:
        """Let stalled subtasks move again."""
        for subtask in self._todo:
            if subtask.retry_at == math.inf:
                subtask.retry_at = 0.0

    @property
    def unfinished(self) -> int:
        """How many subtasks are still to do."""
        return len(self._todo)

    def count(self, *, kind: Kind | None = None, fate: Fate | None = None) -> int:
        """How many subtasks are of a kind, of a fate, or both."""
        return sum(
            number
            for (some_kind, some_fate), number in self._tally.items()
            if kind in (None, some_kind) and fate in (None, some_fate)
        )

    def record(self) -> Json:
        """The task's own row on disk; `Task(**row)` rebuilds it."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init}
