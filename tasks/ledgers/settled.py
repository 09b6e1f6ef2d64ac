"""What became of everything that a plan names, read from ledger and plan when it is asked for: never a list of it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.datasets.sessions import batches
from tasks.ledgers.opening import read_ledger
from tasks.model import Outcome, State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.ledger import Ledger
    from tasks.plan.planfile import Plan

#: Paths that the ledger is asked about at a time.
_PART = 1000


@dataclass(frozen=True, slots=True)
class Settled:
    """The outcomes of one run over a plan; they can be gone through any number of times.

    Attributes:
        plan: What was to be done.
        run: The run, in the ledger.
    """

    plan: Plan
    run: str

    def __iter__(self) -> Iterator[Outcome]:
        """Yield what the run settled, then what was present, then what the plan left out.

        Raises:
            DownloadError: when the ledger or the plan cannot be read.
        """
        with closing(read_ledger(Path(self.plan.root))) as ledger:
            yield from ledger.each_outcome(self.run)
            for some in batches(self.plan.present_files(), _PART):
                yield from self._untouched(some, ledger)
        for skip in self.plan.skips():
            yield Outcome(skip.dataset, skip.path, State.SKIPPED, reason=skip.reason)

    def _untouched(self, present: list[tuple[str, str]], ledger: Ledger) -> Iterator[Outcome]:
        """A present file that the run confirmed has its outcome already."""
        done = {outcome.path for outcome in ledger.outcomes(self.run, [path for _, path in present])}
        yield from (Outcome(dataset, path, State.PRESENT) for dataset, path in present if path not in done)
