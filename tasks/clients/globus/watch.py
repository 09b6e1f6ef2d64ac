"""Watching one task: when to look next, whether it moves, and when it is not worth waiting for any more.

Pure but for the clock it is told: a task document goes in, a decision comes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.clients.verdicts import DownloadError, Verdict, error, globus_task

if TYPE_CHECKING:
    from tasks.clients.globus.options import GlobusOptions
    from tasks.clients.seams import Pace

Json = dict[str, Any]

#: Seconds between two looks; back to the first one after progress.
_INTERVALS = (1.0, 2.0, 5.0, 10.0, 30.0)
_HEALTHY = ("OK", "Queued")
#: Fields that grow while a task does something: it scans, makes directories, moves, compares.
_PROGRESS = (
    "files",
    "directories",
    "files_transferred",
    "files_skipped",
    "bytes_transferred",
    "bytes_checksummed",
    "subtasks_succeeded",
    "subtasks_skipped_errors",
)


@dataclass(slots=True)
class Watch:
    """What is known of one task.

    Attributes:
        bytes: Bytes that it is to move, as registered.
        largest: Bytes of its largest file.
        due: When to look next, by the pace's monotonic clock.
        document: The task as it was seen last.
    """

    options: GlobusOptions
    pace: Pace
    bytes: int = 0
    largest: int = 0
    due: float = field(init=False)
    document: Json = field(init=False, default_factory=dict)
    _began: float = field(init=False)
    _moved_at: float = field(init=False)
    _away_since: float | None = field(init=False, default=None)
    _idle_looks: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.due = self._began = self._moved_at = self.pace.monotonic()

    @property
    def bytes_moved(self) -> int:
        """Bytes that have travelled, those that were sent again too."""
        return int(self.document.get("bytes_transferred") or 0)

    @property
    def files_done(self) -> int:
        """Files that are done."""
        return int(self.document.get("files_transferred") or 0) + int(self.document.get("files_skipped") or 0)

    @property
    def rate(self) -> int:
        """Bytes a second, as the service counts them."""
        return int(self.document.get("effective_bytes_per_second") or 0)

    @property
    def ended(self) -> bool:
        """Whether the task has come to its end; `INACTIVE` and a pause are none."""
        return self.document.get("status") in ("SUCCEEDED", "FAILED")

    @property
    def succeeded(self) -> bool:
        """Whether it has come to a good end."""
        return self.document.get("status") == "SUCCEEDED"

    def moved_all(self, files: int) -> bool:
        """Whether it has moved so many files itself, and neither found one in place nor stepped over one."""
        document = self.document
        clean = (document.get("files_skipped"), document.get("subtasks_skipped_errors")) == (0, 0)
        return self.succeeded and clean and int(document.get("files_transferred") or 0) >= files

    @property
    def in_trouble(self) -> bool:
        """Whether the event list has something to tell."""
        document = self.document
        return not self.ended and (document.get("nice_status") or "OK") not in _HEALTHY

    @property
    def health(self) -> tuple[object, object]:
        """What changes when something goes wrong that was not wrong before."""
        return self.document.get("faults"), self.document.get("nice_status")

    @property
    def failed_by_itself(self) -> bool:
        """Whether it has come to a bad end that nobody asked for."""
        fatal = self.document.get("fatal_error") or {}
        return self.document.get("status") == "FAILED" and fatal.get("code") != "CANCELED"

    def see(self, document: Json) -> None:
        """Take in a task document, and decide when to look again."""
        now = self.pace.monotonic()
        moved = self._marks(document) != self._marks(self.document) or document.get("nice_status") == "Queued"
        self._idle_looks = 0 if moved else self._idle_looks + 1
        if moved:
            self._moved_at = now
        if document.get("nice_status") != "GC_NOT_CONNECTED":
            self._away_since = None
        elif self._away_since is None:
            self._away_since = now
        self.document = document
        self._look_again(now)

    def postpone(self, failure: DownloadError) -> None:
        """The service did not answer: the task goes on all the same."""
        self._idle_looks += 1
        now = self.pace.monotonic()
        self._look_again(now)
        self.due = max(self.due, now + (failure.retry_after or 0.0))

    def _look_again(self, now: float) -> None:
        interval = _INTERVALS[min(self._idle_looks, len(_INTERVALS) - 1)]
        self.due = now + interval * self.pace.uniform(0.8, 1.2)

    @staticmethod
    def _marks(document: Json) -> tuple[object, ...]:
        return tuple(document.get(name) for name in _PROGRESS)

    def verdict(self, detail: str) -> DownloadError | None:
        """Why to give the task up, or None as long as it is worth waiting for.

        Args:
            detail: Names the task, for the human.
        """
        document, now = self.document, self.pace.monotonic()
        if document.get("status") == "INACTIVE":
            return error("globus-inactive", detail)
        if document.get("is_paused"):
            return error("globus-paused", detail)
        trouble = globus_task(str(document.get("nice_status")), detail) if self.in_trouble else None
        if trouble and trouble.verdict is not Verdict.RETRY and not self._may_come_back(now):
            return trouble
        if now - self._began > self.options.deadline(self.bytes):
            return error("globus-deadline", detail)
        if now - self._moved_at > self.options.stall(self.largest):
            return error("globus-stalled", detail)
        return None

    def _may_come_back(self, now: float) -> bool:
        return self._away_since is not None and now - self._away_since <= self.options.offline_seconds

    def end(self, detail: str) -> DownloadError:
        """What the end of the task means for files that it left."""
        if self.succeeded:
            return error("globus-left", detail)
        fatal = self.document.get("fatal_error") or {}
        why = f"{detail} {self.document.get('canceled_by_admin_message') or ''}".rstrip()
        return globus_task(str(fatal.get("code")), f"{why} ({fatal.get('code')}: {fatal.get('description')}).")
