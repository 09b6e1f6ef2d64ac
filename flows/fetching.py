"""Runs one download in this process, and says what became of it: what `fetch` and `demo` print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.download import download
from tasks.clients.verdicts import DownloadError, Verdict, error
from tasks.ledger import Ledger
from tasks.model import Outcome, State, Summary
from tasks.planfile import Plan
from tasks.preparing import prepare, require_space
from tasks.settings import AlyxSettings
from tasks.wording import headline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.model import Json
    from tasks.selection import Selection

DONE, FAILED, TEMPORARY, STOPPED = 0, 3, 5, 7


@dataclass(frozen=True, slots=True)
class Fetched:
    """A run that ended.

    Attributes:
        plan: What was to be done.
        summary: The numbers.
        outcomes: What became of each transfer, the planned skips and the present files included.
    """

    plan: Plan
    summary: Summary
    outcomes: tuple[Outcome, ...]

    @property
    def exit_code(self) -> int:
        """0 done, 3 some files failed, 5 what failed may mend by itself, 7 stopped."""
        if self.summary.stopped:
            return STOPPED
        failures = [one for one in self.outcomes if one.state is State.FAILED]
        if not failures:
            return DONE
        return TEMPORARY if all(one.verdict == Verdict.RETRY for one in failures) else FAILED

    def rows(self) -> Iterator[Json]:
        """The JSON lines: a transfer each, and last the summary."""
        yield from (outcome.to_json() for outcome in self.outcomes)
        yield {"summary": self.summary.to_json()}

    def lines(self) -> Iterator[str]:
        """What a person reads: what failed and why, what was skipped, the headline and the numbers."""
        for outcome in self.outcomes:
            if outcome.state is State.FAILED:
                yield f"failed   {outcome.path}\n         {outcome.reason}\n         {outcome.next_step}"
            elif outcome.state is State.SKIPPED:
                yield f"skipped  {outcome.path}\n         {outcome.reason}"
        if self.summary.stopped:
            yield f"stopped  {self.summary.stopped}"
        yield headline(self.summary)
        yield self.summary.line()


def fetch(selection: Selection | None, root: Path | None, planned: Path | None = None) -> Fetched:
    """Plan, unless a plan is given, run the flow in this process, and read from the ledger what became of it.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    plan, path = _plan(selection, root, planned)
    state = download(selection, plan=path, return_state=True)
    run_id = str(state.state_details.flow_run_id)
    result = state.result(raise_on_failure=False)
    ledger = Ledger.read_only(Path(plan.root))
    run = ledger.run(run_id)
    if run is None or run.summary is None:
        raise result if isinstance(result, DownloadError) else error("run-died", f"{state.message or result}")
    summary = Summary(**run.summary, stopped=state.message or "" if state.is_failed() else "")
    return Fetched(plan, summary, (*ledger.outcomes(run_id), *_untouched(plan)))


def _plan(selection: Selection | None, root: Path | None, planned: Path | None) -> tuple[Plan, Path]:
    if planned:
        return Plan.load(planned), planned
    if selection is None:
        raise error("selection", "Neither a selection nor a plan is given.")
    made = prepare(selection, root, AlyxSettings())
    require_space(made)
    return made, made.save()


def _untouched(plan: Plan) -> Iterator[Outcome]:
    yield from (Outcome(dataset, path, State.PRESENT) for dataset, path in plan.present_files.items())
    yield from (Outcome(skip.dataset, skip.path, State.SKIPPED, reason=skip.reason) for skip in plan.skips())
