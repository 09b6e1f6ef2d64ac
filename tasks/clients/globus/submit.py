"""Submitting a batch so that it becomes one task, whatever breaks in between; and finding the tasks that exist.

A submission is written into the journal before it is sent. After a crash the same document is sent again,
and the service answers with the task that it led to; a lost journal is made good by the tasks' labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasks.clients.globus.batches import Batch, Destination, Item, routes_of, transfer_document
from tasks.clients.globus.journal import Entry, Journal, Stage
from tasks.clients.globus.watch import Watch
from tasks.clients.verdicts import DownloadError, Verdict, error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.clients.globus.options import GlobusOptions
    from tasks.clients.globus.service import GlobusService
    from tasks.clients.seams import Pace

Json = dict[str, Any]


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
        return f"Task https://app.globus.org/activity/{self.task_id}. {self.said}".rstrip()


@dataclass(slots=True)
class Submitter:
    """Turns batches into tasks."""

    service: GlobusService
    journal: Journal
    options: GlobusOptions
    pace: Pace
    destination: Destination
    _endpoints: dict[str, Json] = field(init=False, default_factory=dict)
    _lost: dict[str, str] | None = field(init=False, default=None)

    def find(self, items: Iterable[Item]) -> tuple[list[tuple[Entry, Batch]], list[Item]]:
        """The submissions that earlier runs left open for these files, and the files without one."""
        wanted = {self.destination.route(item): item for item in items}
        found: list[tuple[Entry, Batch]] = []
        for entry in self.journal.open_entries():
            if datetime.fromisoformat(str(entry.document["deadline"])).timestamp() < self.pace.now():
                self.journal.ended(entry.submission_id, Stage.FAILED)
            elif mine := tuple(wanted.pop(route) for route in routes_of(entry.document) if route in wanted):
                found.append((entry, Batch(mine[0].endpoint, mine)))
        return found, list(wanted.values())

    def submit(self, batch: Batch) -> Running:
        """Make a batch a task, or find the one that a lost journal knew for the same files.

        Raises:
            DownloadError: when there will be none. One whose verdict is `RETRY` leaves the entry open: the
                service may have taken it all the same.
        """
        verify = self._check_endpoints(batch)
        task_id = self._lost_tasks().pop(batch.label, "")
        submission_id = f"found-{task_id}" if task_id else self.service.submission_id()
        document = transfer_document(
            batch, self.destination, self.options, submission_id=submission_id, now=self.pace.now(), verify=verify
        )
        entry = Entry(submission_id, document, task_id)
        self.journal.begin(entry)
        return self.resume(entry, batch)

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
                    self.journal.ended(entry.submission_id, Stage.FAILED)
                raise
            self.journal.submitted(entry.submission_id, task_id)
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
        """Tasks of ours under way that the journal does not know, by label; asked for once."""
        if self._lost is None:
            known = {entry.task_id for entry in self.journal.open_entries()}
            self._lost = {label: task for label, task in self.service.active_tasks().items() if task not in known}
        return self._lost
