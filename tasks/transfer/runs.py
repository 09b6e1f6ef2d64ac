"""Runs under way in this process: what their batches share, and who takes part."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.alyx import AlyxClient
from tasks.catalogue import repositories
from tasks.clients import Verdict, WireOptions
from tasks.clients.partials import Partials
from tasks.clients.seams import Pace, leave_imports_alone
from tasks.clients.tree import Tree
from tasks.clients.verdicts import error
from tasks.ledgers.opening import open_ledger
from tasks.plan.planfile import plans, prune_plans
from tasks.settings import AlyxSettings
from tasks.transfer.bandwidth import meter
from tasks.transfer.carrying import Carrier
from tasks.transfer.managed import Delivery, prune_received
from tasks.transfer.switchboard import Switchboard
from tasks.transfer.tally import MOST_FAILURES, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tasks.ledger import Ledger
    from tasks.model import Json, Outcome

_DAY_SECONDS = 24 * 3600


@dataclass(slots=True)
class Run:
    """What all batches of one run share in one process.

    Attributes:
        id: The run, in the ledger.
        pace: Its stop signal ends every wait and every transfer.
        stopped: Why the run had to stop, "" while it need not.
        users: The flow and the batches that hold it in this process.
        mismatched: What came as other bytes than Alyx registers, for whoever tells Alyx.
        tally: What became of the transfers in this process.
        deliveries: What services are moving.
        waited_for: Limits whose slots others hold, once for each batch that waits for one.
    """

    id: str
    tree: Tree
    ledger: Ledger
    switchboard: Switchboard
    pace: Pace
    connections: int
    stopped: str = ""
    mismatched: list[Outcome] = field(default_factory=list)
    users: int = 0
    tally: Tally = field(default_factory=Tally)
    deliveries: list[Delivery] = field(default_factory=list)
    waited_for: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, id: str, root: Path, records: Mapping[str, Json], settings: AlyxSettings, pace: Pace) -> Run:  # noqa: A002
        """Prepare the tree and open the ledger.

        Raises:
            DownloadError: `read-only`, `disk-full` or a row of the ledger's.
        """
        leave_imports_alone()
        tree = Tree(root)
        tree.prepare()
        options = WireOptions(
            attempts=settings.attempts,
            connect_seconds=settings.connect_seconds,
            stall_seconds=settings.stall_seconds,
            bytes_per_second=settings.bytes_per_second,
            meter=meter(settings.bwlimit, pace),
            allow_hosts=settings.allow_hosts,
            connections=settings.connections,
        )
        run = cls(id, tree, open_ledger(root), Switchboard(records, options, pace), pace, settings.connections)
        run.prune(settings.partial_days * _DAY_SECONDS)
        tree.keep_room()
        return run

    def prune(self, retention_seconds: float) -> None:
        """Remove partials, what a service brought, and plans, when nobody went on with them for so long."""
        Partials(self.tree.partials, self.tree.disk, self.pace).prune(retention_seconds)
        prune_received(self.tree, retention_seconds, self.pace)
        prune_plans(plans(self.tree.root), before=self.pace.now() - retention_seconds)

    def carrier(self) -> Carrier:
        """The carrier of this run's transfers."""
        return Carrier(self.tree, Partials(self.tree.partials, self.tree.disk, self.pace), self.switchboard)

    def settle(self, outcome: Outcome) -> None:
        """Count what became of one transfer; some outcomes stop all batches of this run."""
        self.tally.note(outcome)
        if outcome.wrong:
            self.mismatched.append(outcome)
        if outcome.verdict == Verdict.STOP_RUN:
            self.stop(f"{outcome.reason} {outcome.next_step}".strip())

    def settled(self) -> Tally:
        """What became of the run's transfers in all processes, as the ledger knows it."""
        whole = Tally.of_sums(self.ledger.sums(self.id), slowest=self.tally.slowest)
        whole.failures = self.ledger.failures(self.id, MOST_FAILURES) if whole.failed else []
        return whole

    def stop(self, why: str) -> None:
        """Stop all batches; the first reason counts, since the others may only follow from it."""
        if not self.pace.stop.is_set():
            self.stopped = why
            self.pace.stop.set()

    def bytes_done(self) -> int:
        """Bytes that are settled, in partials, or under way; for a progress that also moves inside large files."""
        partials = Partials(self.tree.partials, self.tree.disk, self.pace).bytes()
        return self.tally.bytes + partials + sum(delivery.under_way for delivery in self.deliveries)

    def notes(self) -> list[str]:
        """What services have done, for the report."""
        return [note for delivery in self.deliveries for note in delivery.notes()]


_RUNS: dict[str, Run] = {}
_RUNS_LOCK = threading.Lock()
#: Runs whose flow has left them, stopped: a batch that was still waiting for a thread then must not begin.
_STOPPED: set[str] = set()


@contextmanager
def leading(id: str, root: Path) -> Iterator[Run]:  # noqa: A002
    """Take part as the flow: once it has left a run that was stopped, no batch of that begins in this process.

    Raises:
        DownloadError: a row of the tree's or the ledger's.
    """
    _STOPPED.discard(id)
    with taking_part(id, root) as run:
        try:
            yield run
        finally:
            if run.pace.stop.is_set():
                _STOPPED.add(id)


@contextmanager
def taking_part(id: str, root: Path) -> Iterator[Run]:  # noqa: A002
    """Give this process's part of a run: flow and batches share clients, ledger and stop; the last one closes it.

    Raises:
        DownloadError: `stopped`, where the flow has left the run; or a row of the tree's or the ledger's.
    """
    run = _joined(id, root)
    try:
        yield run
    finally:
        with _RUNS_LOCK:
            run.users -= 1
            if not run.users:
                _RUNS.pop(id).ledger.close()


def _joined(id: str, root: Path) -> Run:  # noqa: A002
    with _RUNS_LOCK:
        if id not in _RUNS:
            if id in _STOPPED:
                raise error("stopped")
            _RUNS[id] = Run.open(id, root, repositories(AlyxClient()), AlyxSettings.read(), Pace())
        run = _RUNS[id]
        run.users += 1
        return run
