"""Transfers that a service moves: handed over many at once, proven and published as they arrive.

Globus is the one such service. What it does not bring goes on to the transfer's other sources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.clients.globus import GlobusClient, adopt
from tasks.clients.globus import prune as prune_received
from tasks.clients.globus.batches import Item
from tasks.clients.proof import Expected
from tasks.clients.verdicts import DownloadError
from tasks.datasets.sessions import batches
from tasks.transfer.carrying import Carried, is_managed
from tasks.transfer.outcomes import failed
from tasks.wording import files, human_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tasks.clients.globus.outcomes import Ended, Result
    from tasks.clients.partial import Partial
    from tasks.model import Outcome, Transfer
    from tasks.transfer.carrying import Carrier, Passed

    Settle = Callable[[list[Carried | Outcome]], None]


__all__ = ["Delivery", "prune_received"]

#: Files that are published and recorded together.
_GROUP = 100


class Delivery:
    """A batch's managed transfers, and what becomes of them.

    Args:
        carrier: Knows the tree and the clients.
        settle: Publishes and records a group.

    Attributes:
        left: Transfers that were not brought, with the sources that are still to be asked.
    """

    def __init__(self, carrier: Carrier, settle: Settle) -> None:
        self.carrier = carrier
        self.settle = settle
        self.left: list[Transfer] = []
        self._moved = 0
        self._tasks: dict[str, Ended] = {}
        self._delivered = 0
        self._waiting: dict[str, Passed] = {}
        self._found: dict[str, Outcome] = {}

    def move(self, passed: Iterable[Passed]) -> None:
        """Let the service move transfers; settle what comes.

        When the run is stopped, what has not come is not settled: it stays planned.
        """
        self._waiting = {one.transfer.dataset: one for one in passed if not self._was_received(one)}
        if not self._waiting:
            return
        try:
            self._client().move(self._items(), self.carrier.tree, self._deliver, self._progress, self._there)
        except DownloadError as failure:
            if failure.code == "stopped":
                return
            untold = [self._without(one, failure) for one in self._waiting.values()]
            self.settle([outcome for outcome in untold if outcome])

    def _was_received(self, passed: Passed) -> bool:
        """Settle what an earlier run had received and not published when it died."""
        transfer, address = passed.transfer, passed.source.address
        expected = Expected.of(transfer.size, transfer.digest)
        if not expected.digest or not self.carrier.partials.has(expected, address):
            return False
        partial = self.carrier.partials.claim(expected, address)
        try:
            partial.prove(transfer.path)
        except DownloadError:
            partial.release()
            return False
        self.settle([Carried(transfer, partial, passed.source, passed.receipt)])
        return True

    def _client(self) -> GlobusClient:
        """Any of the clients: one call moves the files of all repositories."""
        client = self.carrier.switchboard.client(next(iter(self._waiting.values())).source)
        assert isinstance(client, GlobusClient)  # noqa: S101  (the one managed client; for the type checker)
        return client

    def _items(self) -> list[Item]:
        expected = {key: Expected.of(one.transfer.size, one.transfer.digest) for key, one in self._waiting.items()}
        return [
            Item(key, one.source.address, expected[key].size, expected[key].digest)
            for key, one in self._waiting.items()
        ]

    @property
    def under_way(self) -> int:
        """Bytes that have travelled and are not settled yet."""
        return max(0, self._moved - self._delivered)

    def notes(self) -> list[str]:
        """What the service's tasks have moved, a sentence each, with the page that shows the task."""
        return [
            f"Globus moved {files(task.files)}, {human_bytes(task.bytes)} at {human_bytes(task.rate)}/s: {task.link}"
            for task in self._tasks.values()
        ]

    def _progress(self, moved: int, _files: int) -> None:
        self._moved = moved

    def _deliver(self, results: Sequence[Result]) -> None:
        """Settle what has come, a group at a time: each file of a group is open until it is published."""
        self._tasks |= {result.task.task_id: result.task for result in results if result.task}
        for group in batches(results, _GROUP):
            arrived = [self._arrival(result) for result in group]
            self.settle([one for one in arrived if one])
            self._delivered += sum(result.item.size or result.bytes for result in group if not result.failure)

    def _arrival(self, result: Result) -> Carried | Outcome | None:
        passed = self._waiting.pop(result.item.key)
        passed.receipt.bytes += result.bytes
        passed.receipt.attempts += result.attempts
        if result.there:
            return self._found.pop(result.item.key)
        try:
            return Carried(passed.transfer, self._proven(result, passed.transfer), passed.source, passed.receipt)
        except DownloadError as failure:
            return self._without(passed, failure)

    def _proven(self, result: Result, transfer: Transfer) -> Partial:
        expected = Expected.of(transfer.size, transfer.digest)
        return adopt(result, self.carrier.partials, expected, transfer.path)

    def _there(self, item: Item) -> bool:
        """Whether another run has published a file that it was moving."""
        found = self.carrier.found(self._waiting[item.key].transfer)
        if found:
            self._found[item.key] = found
        return found is not None

    def _without(self, passed: Passed, failure: DownloadError) -> Outcome | None:
        """Go on without the service: to the sources that were not asked yet, or to the outcome."""
        self.carrier.switchboard.note(passed.source, failure)
        others = tuple(one for one in passed.transfer.sources if not is_managed(one) and one not in passed.said)
        if not others:
            return failed(passed.transfer, failure, {**passed.said, passed.source: failure}, passed.receipt)
        self.left.append(passed.transfer._replace(sources=others))
        return None
