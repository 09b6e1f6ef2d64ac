"""Who works on a plan: a lease in the ledger. It is renewed while the work goes on; a worker that died loses it.

So a shard that is started a second time, since its machine fell silent, never runs twice at once.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from tasks.clients.owners import is_gone, owner
from tasks.clients.verdicts import DownloadError, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.clients.seams import Pace
    from tasks.ledger import Ledger

#: How long a worker may be silent before it has lost its lease, and how often it says that it lives.
SILENCE = timedelta(seconds=180)
_RENEW_SECONDS = 60.0
#: How often a worker that waits for another one's lease looks again.
_KNOCK_SECONDS = 5.0


@dataclass(slots=True)
class Lease:
    """A lease that this process has taken.

    Attributes:
        name: What it is on.
        owner: This process.
    """

    ledger: Ledger
    name: str
    pace: Pace
    owner: str = field(default_factory=owner)
    _said: float = 0.0

    def take(self, say: Callable[[str], None]) -> None:
        """Wait until nobody else has it; a process of this machine that has ended holds up nobody.

        Raises:
            DownloadError: `stopped`, or a row of the ledger's.
        """
        told = ""
        while not self.ledger.lease(self.name, self.owner, SILENCE):
            holder = self.ledger.leases().get(self.name, "")
            if holder and is_gone(holder):
                self.ledger.let_go(self.name, holder)
                continue
            if holder != told:
                say(f"Waiting for another worker that has this plan ({holder}); it loses it when it falls silent.")
                told = holder
            self.pace.wait(_KNOCK_SECONDS)
        self._said = self.pace.monotonic()

    def renew(self) -> bool:
        """Say that this process lives, when that is due; return whether it still has the lease."""
        now = self.pace.monotonic()
        if now - self._said < _RENEW_SECONDS:
            return True
        try:
            held = self.ledger.lease(self.name, self.owner, SILENCE)
        except DownloadError as failure:
            if failure.verdict is not Verdict.RETRY or now - self._said >= SILENCE.total_seconds():
                raise
            return True  # the database is away for a while, and so it is for all others
        self._said = now
        return held


@contextmanager
def leased(ledger: Ledger, name: str, pace: Pace, say: Callable[[str], None]) -> Iterator[Lease]:
    """Have a lease for a while.

    Raises:
        DownloadError: as :meth:`Lease.take` does.
    """
    lease = Lease(ledger, name, pace)
    lease.take(say)
    try:
        yield lease
    finally:
        ledger.let_go(name, lease.owner)
