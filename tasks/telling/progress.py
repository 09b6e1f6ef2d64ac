"""The progress of one flow run, as an artifact that moves in bytes and answers a person's questions meanwhile."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.telling.answers import Standing, answers
from tasks.telling.throughput import Throughput
from tasks.wording import duration, human_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from tasks.model import Summary
    from tasks.plan.planfile import Plan
    from tasks.transfer.runs import Run

_log = logging.getLogger(__name__)

#: An update costs the server some milliseconds.
_UPDATE_SECONDS = 2.0


@contextmanager
def tolerant() -> Iterator[None]:
    """Go on without telling, where the Prefect server does not answer: what is told never stops bytes."""
    try:
        yield
    except httpx.HTTPError as failure:
        _log.warning("The Prefect server does not answer, and the run goes on without telling it: %s", failure)


class Progress:
    """The progress artifact of one flow run.

    Args:
        plan: What is to be done.
        run: What is looked at.
        clock: Seconds that never run backwards.

    Attributes:
        throughput: How the bytes grew.
    """

    def __init__(self, plan: Plan, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan = plan
        self.run = run
        self.throughput = Throughput()
        self._clock = clock
        self._begun = self._updated = clock()
        self._percent = 0.0
        self._artifact: UUID | None = None
        with tolerant():
            made = create_progress_artifact(0.0, key="alyx-progress", description=self._description(self.look()))
            self._artifact = cast("UUID", made)

    def look(self) -> Standing:
        """Take a sample, and return how the run stands."""
        done, board = self.run.bytes_done(), self.run.switchboard
        self.throughput.note(self._clock() - self._begun, done)
        refusals, remarks, notes = dict(board.refusals), board.remarks(), self.run.notes()
        waited_for = sorted(set(self.run.waited_for))
        return Standing(self.plan, self.run.tally, done, self.throughput, refusals, remarks, notes, waited_for)

    def show(self) -> Standing:
        """Take a sample, now and then show how far it is, and return it; the percentage never moves backwards."""
        standing = self.look()
        if self._clock() - self._updated >= _UPDATE_SECONDS:
            self._updated = self._clock()
            total = standing.bytes
            self._percent = max(self._percent, min(100.0, 100.0 * standing.done / total) if total else 100.0)
            self._update(standing)
        return standing

    def complete(self, summary: Summary) -> Standing:
        """Move to the end, or stay where a run stopped; return how it stands, other processes included.

        Args:
            summary: What the run ended with.
        """
        standing = replace(self.look(), tally=self.run.settled(), summary=summary)
        self._percent = self._percent if summary.stopped else 100.0
        self._update(standing)
        return standing

    def _update(self, standing: Standing) -> None:
        if self._artifact:
            with tolerant():
                update_progress_artifact(
                    artifact_id=self._artifact, progress=self._percent, description=self._description(standing)
                )

    def _description(self, standing: Standing) -> str:
        words = [f"**{self._percent:.0f} % of {human_bytes(standing.bytes)}**"]
        seconds = standing.throughput.seconds_for(standing.bytes - standing.done)
        if not standing.summary and seconds:
            words.append(f"{human_bytes(standing.throughput.now())}/s")
            words.append(f"{duration(seconds)} left")
        if standing.tally.failed:
            words.append(f"{standing.tally.failed:,} failed")
        return "\n".join([" · ".join(words), *answers(standing)])
