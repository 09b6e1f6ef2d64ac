"""Transfers that a service moves: handed over many at once, proven and published as they arrive.

Globus is the one such service. What it does not bring goes on to the transfer's other sources.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.carrying import Carried, failed, is_managed
from tasks.clients.fetching import Receipt
from tasks.clients.globus import GlobusClient, adopt
from tasks.clients.globus.batches import Item
from tasks.clients.proof import Expected
from tasks.clients.verdicts import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tasks.carrying import Carrier
    from tasks.clients.globus.outcomes import Result
    from tasks.clients.partials import Partial
    from tasks.model import Outcome, Source, Transfer

    Settle = Callable[[list[Carried | Outcome]], None]


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
        self._waiting: dict[str, tuple[Transfer, Source]] = {}

    def move(self, transfers: Iterable[Transfer]) -> None:
        """Let the service move transfers, each from its first managed source; settle what comes.

        When the run is stopped, what has not come is not settled: it stays planned.
        """
        for transfer in transfers:
            source = next(source for source in transfer.sources if is_managed(source))
            self._waiting[transfer.dataset] = (transfer, source)
        if not self._waiting:
            return
        try:
            self._client().move(self._items(), self.carrier.tree, self._deliver)
        except DownloadError as failure:
            if failure.code == "stopped":
                return
            untold = [self._pass_on(*waiting, failure, Receipt()) for waiting in self._waiting.values()]
            self.settle([outcome for outcome in untold if outcome])

    def _client(self) -> GlobusClient:
        """Any of the clients: one call moves the files of all repositories."""
        _, source = next(iter(self._waiting.values()))
        client = self.carrier.switchboard.client(source)
        assert isinstance(client, GlobusClient)  # noqa: S101  (the one managed client; for the type checker)
        return client

    def _items(self) -> list[Item]:
        expected = {key: Expected.of(one.size, one.digest) for key, (one, _) in self._waiting.items()}
        return [
            Item(key, source.address, expected[key].size, expected[key].digest)
            for key, (_, source) in self._waiting.items()
        ]

    def _deliver(self, results: Sequence[Result]) -> None:
        arrived = [self._arrival(result) for result in results]
        self.settle([one for one in arrived if one])

    def _arrival(self, result: Result) -> Carried | Outcome | None:
        transfer, source = self._waiting.pop(result.item.key)
        receipt = Receipt(result.bytes, result.attempts)
        try:
            return Carried(transfer, self._proven(result, transfer), source, receipt)
        except DownloadError as failure:
            return self._pass_on(transfer, source, failure, receipt)

    def _proven(self, result: Result, transfer: Transfer) -> Partial:
        partial = adopt(result, self.carrier.partials, Expected.of(transfer.size, transfer.digest))
        try:
            partial.prove(transfer.path)
        except DownloadError:
            partial.discard()
            raise
        return partial

    def _pass_on(self, transfer: Transfer, source: Source, failure: DownloadError, receipt: Receipt) -> Outcome | None:
        """Leave a transfer to its other sources; None where it has some."""
        self.carrier.switchboard.note(source, failure)
        others = tuple(other for other in transfer.sources if not is_managed(other))
        if not others:
            return failed(transfer, failure, {source: failure}, receipt)
        self.left.append(replace(transfer, sources=others))
        return None
