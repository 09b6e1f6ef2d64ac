"""What became of a run's transfers until now: kept while they settle, so that a look at a run costs no query."""

from __future__ import annotations

import bisect
import threading
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Self

from tasks.model import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.ledger import Sum
    from tasks.model import Outcome

#: Failures that are kept for the eye; the others are only counted.
MOST_FAILURES = 500
#: Of what took longest.
MOST_SLOW = 20


@dataclass(slots=True)
class Tally:
    """Counts of one run; noted by many threads.

    Attributes:
        files: Transfers that are settled.
        bytes: Their sizes.
        failed: Those of them that failed.
        failures: The first of these.
        given: Files and bytes that each source gave, by protocol and repository.
        slowest: What took longest, the longest last.
    """

    files: int = 0
    bytes: int = 0
    failed: int = 0
    failures: list[Outcome] = field(default_factory=list)
    given: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    slowest: list[Outcome] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> Self:
        """Count outcomes."""
        tally = cls()
        for outcome in outcomes:
            tally.note(outcome)
        return tally

    @classmethod
    def of_sums(cls, sums: Iterable[Sum], slowest: list[Outcome]) -> Self:
        """Make one of what the ledger has added up; it does not know how long a file took."""
        tally = cls(slowest=list(slowest))
        for one in sums:
            tally.files += one.files
            tally.bytes += one.bytes
            if one.state is State.FAILED:
                tally.failed += one.files
            elif one.state is State.PUBLISHED:
                tally.given[one.protocol, one.source] = (one.files, one.bytes)
        return tally

    def note(self, outcome: Outcome) -> None:
        """Count what became of one transfer."""
        with self._lock:
            self.files += 1
            self.bytes += outcome.size or 0
            self._note_time(outcome)
            if outcome.state is State.FAILED:
                self._note_failure(outcome)
            elif outcome.state is State.PUBLISHED:
                files, size = self.given.get((outcome.protocol, outcome.source), (0, 0))
                self.given[outcome.protocol, outcome.source] = (files + 1, size + (outcome.size or 0))

    def _note_time(self, outcome: Outcome) -> None:
        if len(self.slowest) < MOST_SLOW or outcome.seconds > self.slowest[0].seconds:
            bisect.insort(self.slowest, outcome, key=attrgetter("seconds"))
            del self.slowest[:-MOST_SLOW]

    def _note_failure(self, outcome: Outcome) -> None:
        self.failed += 1
        if len(self.failures) < MOST_FAILURES:
            self.failures.append(outcome)
