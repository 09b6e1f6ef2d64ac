"""The four questions of a person who looks at a run, answered in Markdown: on one screen, while it runs and at its end.

How much is left? Which source is bad? What failed, and why? What will be tried next? Everything that comes from Alyx or
a server is escaped.
"""

from __future__ import annotations

import html
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.clients.verdicts import Verdict, printable
from tasks.ledger import MISMATCHES
from tasks.telling.throughput import Throughput
from tasks.wording import duration, files, human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasks.model import Outcome, Summary
    from tasks.plan.planfile import Plan
    from tasks.transfer.tally import Tally

#: Reasons that are told; the table of failures has the rest.
_MOST_REASONS = 8


def escape(text: str) -> str:
    """Make text of strangers harmless in Markdown and HTML: no markup, no control characters, one line."""
    escaped = html.escape(printable(text), quote=False)
    for character in "\\`*_[]()|#!~:@":  # the last two make links of bare addresses
        escaped = escaped.replace(character, f"\\{character}")
    return escaped.replace("www.", "www\\.")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands.

    Attributes:
        plan: What was to be done.
        tally: What became of it.
        done: Bytes that are settled, and those in partials.
        throughput: How that grew.
        refusals: How often a source could not give a file, and why at last, by protocol and repository.
        remarks: What is to be known of the repositories (`Switchboard.remarks`).
        notes: What services have done (`Run.notes`).
        waited_for: Limits that batches wait for, since others hold their slots.
        summary: Its numbers, once it has ended.
    """

    plan: Plan
    tally: Tally
    done: int = 0
    throughput: Throughput = field(default_factory=Throughput)
    refusals: Mapping[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    notes: Sequence[str] = ()
    waited_for: Sequence[str] = ()
    summary: Summary | None = None

    @property
    def files(self) -> int:
        """Transfers of the plan."""
        return self.plan.fetch.files + self.plan.check.files

    @property
    def bytes(self) -> int:
        """Their bytes, as far as they are registered."""
        return self.plan.fetch.bytes + self.plan.check.bytes

    @property
    def stopped(self) -> str:
        """Why it ended early, "" where it did not."""
        return self.summary.stopped if self.summary else ""


def answers(standing: Standing) -> list[str]:
    """The four answers, as lines of Markdown."""
    questions = {
        "How much is left?": [left(standing), *_waiting(standing)],
        "Which source is bad?": list(_bad(standing)),
        "What failed, and why?": list(_failed(standing)),
        "What will be tried next?": list(_next(standing)),
    }
    return [line for title, lines in questions.items() for line in ("", f"#### {title}", "", *lines)]


def left(standing: Standing) -> str:
    """How much is done and left, and how long that takes."""
    tally, total = standing.tally, standing.bytes
    if standing.summary:
        return _missing(standing, standing.summary)
    done = min(standing.done, total)
    words = f"{human_bytes(done)} of {human_bytes(total)} are done, {tally.files:,} of {files(standing.files)}"
    seconds = standing.throughput.seconds_for(total - done)
    if seconds is None:
        return f"{words}; {human_bytes(total - done)} are left."
    speed = f"{human_bytes(standing.throughput.now())}/s"
    return f"{words}; {human_bytes(total - done)} are left: {duration(seconds)} at {speed}."


def _waiting(standing: Standing) -> Iterator[str]:
    """What keeps batches from going on, though nothing is wrong."""
    if standing.waited_for and not standing.summary:
        names = ", ".join(map(escape, standing.waited_for))
        yield from ("", f"- Batches wait for a free slot of **{names}**: others hold them all.")


def _missing(standing: Standing, summary: Summary) -> str:
    planned = standing.files + standing.plan.present.files + standing.plan.skipped
    missing = planned - summary.files + summary.failed
    if not missing:
        return "Nothing: all that can be had is there, and proven."
    untried = f"; {planned - summary.files:,} were not tried" if planned > summary.files else ""
    return f"{files(missing)} of {standing.files:,}{untried}."


def _bad(standing: Standing) -> Iterator[str]:
    given = standing.tally.given
    yield from (f"- **{escape(remark)}**" for remark in standing.remarks)
    if not standing.remarks:
        yield "None that is closed or keeps failing."
        yield ""
    for key, (times, why) in sorted(standing.refusals.items(), key=lambda item: -item[1][0])[:_MOST_REASONS]:
        gave = files(given.get(key, (0, 0))[0])
        what = escape(why.partition(". ")[0].rstrip("."))
        yield f"- {_name(key)} gave {gave} and could not give {times:,}; the last time: {what}."
    if given and not standing.summary:
        shares = (f"{_name(key)} {human_bytes(size)}" for key, (_, size) in sorted(given.items()))
        yield f"- What came until now: {', '.join(shares)}."


def _name(source: tuple[str, str]) -> str:
    return escape(f"{source[1]} ({source[0]})")


def _failed(standing: Standing) -> Iterator[str]:
    tally = standing.tally
    if not tally.failed:
        yield "Nothing."
        return
    by_reason = Counter(failure.reason for failure in tally.failures)
    first = {failure.reason: failure for failure in reversed(tally.failures)}
    for reason, count in by_reason.most_common(_MOST_REASONS):
        others = f" and {files(count - 1)} more" if count > 1 else ""
        yield f"- {escape(first[reason].path)}{others}: {escape(reason)}"
    rest = tally.failed - sum(count for _, count in by_reason.most_common(_MOST_REASONS))
    if rest > 0:
        yield f"- {files(rest)} more; `prefect-alyx status` names them."


def _next(standing: Standing) -> Iterator[str]:
    if standing.stopped:
        yield f"- **The run stopped early:** {escape(standing.stopped)} The next run resumes where it was."
    fates = Counter((_fate(failure), failure.next_step) for failure in standing.tally.failures)
    for (fate, step), count in fates.most_common(_MOST_REASONS):
        yield f"- {files(count)} {fate} **{escape(step)}**"
    if not standing.summary:
        yield "- What is not done yet. A run that is cut off is resumed by the next one."
    elif not standing.tally.failed and not standing.stopped:
        yield "Nothing but what changes in Alyx."


def _fate(failure: Outcome) -> str:
    """What becomes of a file that failed."""
    if failure.verdict == Verdict.RETRY:
        return "may mend without help: the next run tries again."
    if failure.code in MISMATCHES:
        return "will rest for a week, or until Alyx registers something else; `prefect-alyx retry` tries at once."
    return "will be tried again by the next run, but somebody is needed."
