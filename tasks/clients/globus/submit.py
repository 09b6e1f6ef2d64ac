"""Submitting a batch so that it becomes one task, whatever breaks in between; and finding the tasks that exist.

A submission is written into the journal before it is sent. After a crash the same document is sent again,
and the service answers with the task that it led to; a lost journal is made good by the tasks' labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasks.clients.globus.batches import Batch, Destination, Item, staged_names, transfer_document
from tasks.clients.globus.journal import Entry, Journal
from tasks.clients.globus.outcomes import Ended
from tasks.clients.globus.watch import Watch
from tasks.clients.verdicts import DownloadError, Verdict, error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.clients.globus.options import GlobusOptions
    from tasks.clients.globus.service import GlobusService
    from tasks.clients.seams import Pace

Json = dict[str, Any]
#: Whether a file has got its final name meanwhile, from another run on the same root.
There = Callable[[Item], bool]


@dataclass(slots=True, eq=False)
class Running:
    """A task under way.

    Attributes:
        said: What its event list tells of its trouble, "" for none.
        named: The paths that its events named.
    """

    batch: Batch
    submission_id: str
    task_id: str
    watch: Watch
    said: str = ""
    named: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """The task, and what it says, for the human."""
        return f"Task {self.ended(0).link}. {self.said}".rstrip()

    def ended(self, files: int) -> Ended:
        """What the report tells of it."""
        return Ended(self.task_id, files, self.watch.bytes_moved, self.watch.rate)


@dataclass(slots=True)
class Found:
    """What the journal says of some files.

    Attributes:
        open: Submissions that earlier runs left, ours now.
        elsewhere: Files that a living run moves, by submission.
        fresh: Files without a submission.
    """

    open: list[tuple[Entry, Batch]] = field(default_factory=list)
    elsewhere: dict[str, list[Item]] = field(default_factory=dict)
    fresh: list[Item] = field(default_factory=list)


@dataclass(slots=True)
class Submitter:
    """Turns batches into tasks."""

    service: GlobusService
    journal: Journal
    options: GlobusOptions
    pace: Pace
    destination: Destination
    there: There
    _endpoints: dict[str, Json] = field(init=False, default_factory=dict)
    _lost: dict[str, str] | None = field(init=False, default=None)

    def find(self, items: Iterable[Item]) -> Found:
        """Sort files by what the journal knows of them; what nobody alive moves is claimed."""
        wanted = {item.staged_name: item for item in items}
        found = Found()
        for entry in self.journal.entries():
            mine = [wanted.pop(name) for name in staged_names(entry.document) & wanted.keys()]
            if not mine:
                continue
            if not self.journal.claim(entry):
                found.elsewhere[entry.submission_id] = mine
            elif self._is_void(entry):
                self.journal.ended(entry.submission_id)
                found.fresh += mine
            else:
                found.open.append((entry, Batch(mine[0].endpoint, tuple(mine), resumed=True)))
        found.fresh += wanted.values()
        return found

    def _is_void(self, entry: Entry) -> bool:
        """Whether Globus would refuse a document now; where it made a task of it, that has a label."""
        deadline = datetime.fromisoformat(str(entry.document["deadline"])).timestamp()
        return not entry.task_id and deadline < self.pace.now()

    def submit(self, batch: Batch) -> Running | None:
        """Make a batch a task, or find the one that a lost journal knew for the same files.

        Announce, then look: of two runs that begin with the same files at once, at most one goes on.

        Returns:
            None when another run is moving some of the files, or has brought them meanwhile.

        Raises:
            DownloadError: when there will be none. One whose verdict is `RETRY` leaves the entry open: the
                service may have taken it all the same.
        """
        verify = self._check_endpoints(batch)
        task_id = self._lost_tasks().pop(batch.label(self.destination), "")
        submission_id = f"found-{task_id}" if task_id else self.service.submission_id()
        document = transfer_document(
            batch, self.destination, self.options, submission_id=submission_id, now=self.pace.now(), verify=verify
        )
        entry = Entry(submission_id, document, task_id)
        self.journal.begin(entry)
        if self._has_rival(entry) or any(map(self.there, batch.items)):
            self.journal.ended(submission_id)
            return None
        return self.resume(entry, batch)

    def _has_rival(self, entry: Entry) -> bool:
        mine = staged_names(entry.document)
        others = (other for other in self.journal.entries() if other.submission_id != entry.submission_id)
        return any(not mine.isdisjoint(staged_names(other.document)) for other in others)

    def resume(self, entry: Entry, batch: Batch) -> Running:
        """Send a journalled document, perhaps once more: the answer is always the same task.

        Raises:
            DownloadError: as :meth:`submit`.
        """
        task_id = entry.task_id
        if not task_id:
            try:
                task_id = self.service.submit(entry.document)
            except DownloadError as failure:
                if failure.verdict is not Verdict.RETRY and failure.code != "stopped":
                    self.journal.ended(entry.submission_id)
                raise
            self.journal.submitted(entry.submission_id, entry.document, task_id)
        watch = Watch(self.options, self.pace, bytes=batch.bytes, largest=batch.largest)
        return Running(batch, entry.submission_id, task_id, watch)

    def _check_endpoints(self, batch: Batch) -> bool:
        """Refuse early what cannot work; return whether Globus can verify what it copies."""
        documents = [self._endpoint(batch.source), self._endpoint(self.destination.endpoint.id)]
        for document in documents:
            detail = f"It is {document.get('display_name')} ({document.get('id')})."
            if document.get("gcp_connected") is False:
                raise error("globus-offline", detail)
            if document.get("gcp_paused"):
                raise error("globus-gc-paused", detail)
        return not any(document.get("disable_verify") for document in documents)

    def _endpoint(self, endpoint_id: str) -> Json:
        if endpoint_id not in self._endpoints:
            self._endpoints[endpoint_id] = self.service.endpoint(endpoint_id)
        return self._endpoints[endpoint_id]

    def _lost_tasks(self) -> dict[str, str]:
        """Tasks of ours under way that no journal entry stands for, by label; asked for once."""
        if self._lost is None:
            active = self.service.active_tasks()
            known = {entry.document.get("label") for entry in self.journal.entries()}  # read after: they come before
            self._lost = {label: task for label, task in active.items() if label not in known}
        return self._lost
