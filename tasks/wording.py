"""How numbers and plans are said to people: the same words in the command, the log and the UI."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any

from tasks.model import Outcome, Source, State, Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasks.keeping.probing import Cost
    from tasks.model import Json
    from tasks.plan.planfile import Lines, Plan

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
#: Skips of one reason that are named before the rest is only counted.
_MOST_NAMES = 3


def wrapped(text: str, indent: str = "", *, first: str | None = None) -> Iterator[str]:
    """Lines as wide as the terminal, 80 columns where there is none; a path or an address is never broken.

    Args:
        text: What is said.
        indent: Stands before each line.
        first: Stands before the first line instead.
    """
    before = indent if first is None else first
    for line in text.rstrip("\n").split("\n"):  # a list of mistakes keeps its lines
        yield from textwrap.wrap(
            line,
            shutil.get_terminal_size().columns,
            initial_indent=before,
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,
        )
        before = indent


def coded(text: str, code: str) -> str:
    """A message with its code, which finds its entry in the catalogue of errors."""
    space = "" if text.endswith("\n") else " "  # a list keeps its last line
    return f"{text}{space}[{code}]" if code and text else text


def human_bytes(count: float) -> str:
    """Bytes as a person says them, in powers of 1000."""
    power = 0
    while abs(count) >= 999.5 and power < len(_UNITS) - 1:  # noqa: PLR2004  (it would round to 1000)
        count /= 1000
        power += 1
    decimals = 1 if power and count < 99.5 else 0  # noqa: PLR2004  (three digits are enough)
    return f"{count:,.{decimals}f} {_UNITS[power]}"


def duration(seconds: float) -> str:
    """About how long something takes."""
    for name, unit in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * unit:
            return f"about {seconds / unit:.0f} {name}"
    return f"about {max(seconds, 1):.0f} s"


def files(count: int) -> str:
    """A number of files."""
    return f"{count:,} file{'' if count == 1 else 's'}"


def selection_words(selection: Mapping[str, Any]) -> str:
    """What is asked for, in a few words: the fields that narrow, long lists as their length."""
    telling = {name: value for name, value in selection.items() if value and name != "protocols"}
    rule = telling.pop("revision_rule", "default")
    words = [_field_words(name, value) for name, value in telling.items()]
    return ", ".join([*words, *(["all revisions"] if rule == "all" else [])]) or "a plan"


def _field_words(name: str, value: Any) -> str:
    if isinstance(value, list) and (len(value) > _MOST_NAMES or name.endswith("_ids")):
        return f"{len(value):,} {name.removesuffix('_ids')}{'s' if name.endswith('_ids') and len(value) > 1 else ''}"
    if name == "verify":
        return f"verify {value:.0%} of the tree"
    if value is True:
        return name.replace("_", " ")
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def plan_line(plan: Plan) -> str:
    """A plan in one line."""
    parts = [f"{files(plan.fetch.files)} to fetch ({human_bytes(plan.fetch.bytes)})"]
    if plan.check.files:
        parts.append(f"{plan.check.files:,} on disk to prove")
    return ", ".join([*parts, f"{plan.present.files:,} present", f"{plan.skipped:,} skipped"])


#: What somebody who mistyped a name wants to know; what Alyx has a list of (labs, subjects, ...) is checked before.
NOTHING_MATCHES = "No dataset in Alyx matches all of the selection: leave out a part, to see which one is too narrow."


def is_empty(plan: Plan) -> bool:
    """Whether nothing at all was found for a plan, neither to fetch nor present nor skipped."""
    return not (plan.fetch.files or plan.check.files or plan.present.files or plan.skipped)


def plan_lines(plan: Plan) -> Iterator[str]:
    """A plan as a person reads it: how much, from where, what not and why, and whether it fits."""
    yield f"{plan_line(plan)}, into {plan.root}"
    yield f"catalogue: {plan.catalogue}"
    for share in plan.shares:
        yield f"  {share.protocol:8} {share.repository:28} {files(share.files):>14} {human_bytes(share.bytes):>10}"
    yield from _skip_lines(plan)
    if is_empty(plan):
        yield from wrapped(NOTHING_MATCHES)
    space = plan.space
    fits = "" if space.fits else " - it does NOT fit"
    yield f"disk: {human_bytes(space.needed)} needed (reserve included), {human_bytes(space.free)} free{fits}"


def plan_rows(made: Plan) -> Iterator[Json]:
    """The plan as JSON lines, in the form that the run will have."""
    for number in range(len(made.batches)):
        for transfer in made.transfers(number):
            source = transfer.sources[0] if transfer.sources else Source("", "", "")  # it may be proven on disk
            planned = Outcome(transfer.dataset, transfer.path, State.SKIPPED, source.repository, source.protocol)
            yield {**planned.to_json(), "state": "planned", "bytes": transfer.size or 0}
    yield from (Outcome(dataset, path, State.PRESENT).to_json() for dataset, path in made.present_files())
    yield from (Outcome(skip.dataset, skip.path, State.SKIPPED, reason=skip.reason).to_json() for skip in made.skips())
    files = made.fetch.files + made.check.files + made.present.files + made.skipped
    summary = Summary(files, made.fetch.bytes, present=made.present.files, skipped=made.skipped)
    yield {"summary": summary.to_json()}


def _skip_lines(plan: Plan) -> Iterator[str]:
    counted = Counter(skip.reason for skip in plan.skips())
    named: Counter[str] = Counter()
    for skip in plan.skips():
        named[skip.reason] += 1
        if named[skip.reason] <= _MOST_NAMES:
            yield from wrapped(f"{skip.path}: {skip.reason}", "    ", first="  skip ")
    for reason, count in counted.items():
        if count > _MOST_NAMES:
            yield from wrapped(f"skip {count - _MOST_NAMES:,} more: {reason}", "    ", first="  ")


def batch_label(plan: Plan, number: int) -> str:
    """What a batch's task run is called: which one, lab and dates, how much."""
    batch = plan.batches[number]
    parts = [f"batch {number + 1} of {len(plan.batches)}", span_words([batch]), files(batch.files)]
    return " · ".join([*filter(None, parts), human_bytes(batch.bytes)])


def span_words(batches: Sequence[Lines], said: str = "") -> str:
    """Labs and dates of some batches, without what was said before; "" where they have none.

    Args:
        batches: Of a plan.
        said: A name that may have some of the words in it.
    """
    labs = sorted({lab for batch in batches for lab in batch.labs.split(", ") if lab})
    words = ", ".join(labs) if len(labs) <= _MOST_NAMES else f"{len(labs):,} labs"
    since = min((batch.since for batch in batches if batch.since), default="")
    until = max((batch.until for batch in batches), default="")
    days = since if since == until else f"{since}..{until}"
    return " ".join(part for part in (words, days) if part and part not in said)


def headline(summary: Summary) -> str:
    """One sentence: is all well?"""
    if summary.stopped:
        return "The run was stopped"
    if summary.failed:
        return f"{summary.failed:,} of {files(summary.files)} failed"
    if summary.published:
        return f"{files(summary.published)} published, {human_bytes(summary.bytes)}"
    if not summary.files:
        return "Nothing to do: no dataset is meant"
    return "Nothing to do: what can be had is there, and proven"


def canary_line(costs: Sequence[Cost]) -> str:
    """What the canary found, in one line."""
    states = Counter(cost.state for cost in costs)
    untried = f", {states['untried']:,} without a file to try" if states["untried"] else ""
    return f"{states['works']:,} of {len(costs):,} routes work, {states['broken']:,} broken{untried}."
