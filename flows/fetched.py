"""What a run over a plan ended in, as every verb of the command prints it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flows.exit_codes import DONE, FAILED, STOPPED, TEMPORARY
from tasks.clients.verdicts import DownloadError, Verdict
from tasks.model import State
from tasks.wording import coded, headline, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tasks.model import Json, Outcome, Summary
    from tasks.plan.planfile import Plan
    from tasks.telling.throughput import Sample


@dataclass(frozen=True, slots=True)
class Course:
    """How a run went, in the process that ran it.

    Attributes:
        samples: How the bytes grew, oldest first.
        refusals: How often a source could not give a file, and why at last, by protocol and repository.
        slowest: What took longest, the longest last.
    """

    samples: Sequence[Sample] = ()
    refusals: Mapping[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    slowest: Sequence[Outcome] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A run that ended.

    Attributes:
        plan: What was to be done; None where there was nothing to ask for.
        summary: The numbers.
        outcomes: What became of each transfer, the planned skips and the present files included; to be gone through
            any number of times.
        course: How it went.
    """

    plan: Plan | None
    summary: Summary
    outcomes: Iterable[Outcome]
    course: Course = field(default_factory=Course)

    @property
    def is_settled(self) -> bool:
        """Whether the ledger now knows what became of every transfer of the plan."""
        if self.plan is None:
            return True
        planned = sum(batch.files for batch in self.plan.batches) + self.plan.present.files + self.plan.skipped
        return not self.summary.stopped and self.summary.files == planned

    @property
    def exit_code(self) -> int:
        """0 done, 3 some files failed, 5 what failed may mend by itself, 7 stopped."""
        if self.summary.stopped:
            return STOPPED
        if not self.summary.failed:
            return DONE
        verdicts = {one.verdict for one in self.outcomes if one.state is State.FAILED}
        return TEMPORARY if verdicts == {Verdict.RETRY} else FAILED

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
        """What was not had or had to be mended, each with its reason and, where there is one, its next step."""
        for outcome in self.outcomes:
            if outcome.state in (State.FAILED, State.SKIPPED) or (outcome.state is State.PUBLISHED and outcome.reason):
                yield f"{outcome.state:8} {outcome.path}"
                for text in (coded(outcome.reason, outcome.code), outcome.next_step):
                    yield from wrapped(text, " " * 9)
        if self.summary.stopped:
            yield from wrapped(self.summary.stopped, " " * 9, first="stopped  ")

    @property
    def headline(self) -> str:
        """One sentence: is all well?"""
        return headline(self.summary)


class StoppedError(DownloadError):
    """A run that had to stop early: the result of a flow run that is Failed.

    Args:
        fetched: What was done until then.
    """

    def __init__(self, fetched: Fetched) -> None:
        super().__init__(Verdict.STOP_RUN, fetched.summary.stopped, "Run again: it resumes where it stopped.")
        self.fetched = fetched
