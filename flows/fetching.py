"""Runs one download in this process, and says what became of it: what `fetch` and `demo` print."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flows.download import download
from flows.local_server import prefect_api
from tasks.clients.verdicts import DownloadError, Verdict, error
from tasks.ledger import Ledger
from tasks.model import Outcome, State, Summary
from tasks.preparing import failed_before, prepare, require_place
from tasks.settings import AlyxSettings
from tasks.wording import headline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.model import Json
    from tasks.planfile import Plan
    from tasks.selection import Selection

    Say = Callable[[str], None]

DONE, FAILED, TEMPORARY, STOPPED = 0, 3, 5, 7


@dataclass(frozen=True, slots=True)
class Fetched:
    """A run that ended.

    Attributes:
        summary: The numbers.
        outcomes: What became of each transfer, the planned skips and the present files included.
    """

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
        yield from self.trouble()
        yield self.headline
        yield self.summary.line()

    def trouble(self) -> Iterator[str]:
        """What was not had, each with its reason and, where there is one, its next step."""
        for outcome in self.outcomes:
            if outcome.state in (State.FAILED, State.SKIPPED):
                yield f"{outcome.state:8} {outcome.path}"
                yield from (f"         {text}" for text in (outcome.reason, outcome.next_step) if text)
        if self.summary.stopped:
            yield f"stopped  {self.summary.stopped}"

    @property
    def headline(self) -> str:
        """One sentence: is all well?"""
        return headline(self.summary)


def fetch(selection: Selection, root: Path | None, say: Say) -> Fetched:
    """Plan, and run what is planned.

    Args:
        selection: Which datasets.
        root: Where the files go.
        say: Talks to the person.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    return run(prepare(selection, root, AlyxSettings.read()), selection, say)


def retry(root: Path | None, say: Say) -> Fetched:
    """Fetch what failed before, also what rests because another try hardly mends it.

    Raises:
        DownloadError: when the run cannot begin, or dies.
    """
    selection = failed_before(root, AlyxSettings.read())
    if selection is None:
        say("No file failed before.")
        return Fetched(Summary(), ())
    return run(prepare(selection, root, AlyxSettings.read(), rest=timedelta()), selection, say)


def run(plan: Plan, selection: Selection, say: Say) -> Fetched:
    """Run the flow on a plan in this process, and read from the ledger what became of it.

    Everything that can be wrong with the plan shows before a Prefect server is started for it.

    Raises:
        DownloadError: `no-space`, `read-only` or `bad-root`, a row of the Prefect API's, or why the run died.
    """
    require_place(plan)
    path = plan.save()
    with prefect_api(say):
        state = download(selection, plan=path, return_state=True)
    run_id = str(state.state_details.flow_run_id)
    ledger = Ledger.read_only(Path(plan.root))
    record = ledger.run(run_id)
    if record is None or record.summary is None:
        died = state.result(raise_on_failure=False)
        raise died if isinstance(died, DownloadError) else error("run-died", f"{state.message or died}")
    summary = Summary(**record.summary, stopped=(state.message or "") if state.is_failed() else "")
    return Fetched(summary, (*ledger.outcomes(run_id), *_untouched(plan)))


def _untouched(plan: Plan) -> Iterator[Outcome]:
    yield from (Outcome(dataset, path, State.PRESENT) for dataset, path in plan.present_files.items())
    yield from (Outcome(skip.dataset, skip.path, State.SKIPPED, reason=skip.reason) for skip in plan.skips())
