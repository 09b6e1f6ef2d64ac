"""What the ledger, the disk and Prefect say of a root now, for the verb `status`; it works without a network."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from flows.under_way import under_way
from tasks.alyx import AlyxClient
from tasks.clients.owners import FREE
from tasks.clients.partial import SUFFIX
from tasks.clients.tree import Tree
from tasks.ledgers.opening import read_ledger
from tasks.model import State, Summary
from tasks.plan.disk import free_bytes
from tasks.preparing import REST, find_root
from tasks.wording import coded, files, human_bytes, selection_words, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flows.under_way import FlowRunSeen
    from tasks.ledger import Run
    from tasks.model import Failure, Json
    from tasks.settings import AlyxSettings

#: Newest runs, failures and partials that are named before the rest is only counted.
_MOST_RUNS, _MOST_FAILURES, _MOST_PARTIALS = 5, 20, 10


class Waiting(NamedTuple):
    """A failure, and when its file is tried again: None for the next run."""

    failure: Failure
    rests_until: datetime | None


class Unproven(NamedTuple):
    """A partial: what it will be, how much of it there is and should be, and whether somebody is writing it."""

    identity: str
    bytes: int
    size: int | None
    claimed: bool


@dataclass(frozen=True, slots=True)
class Status:
    """How things are under one root.

    Attributes:
        runs: The newest first.
        counts: How many paths are in each state.
        flow_runs: What Prefect runs and waits to run; None where no API is known.
        remark: Why Prefect does not say.
    """

    root: Path
    runs: list[Run]
    waiting: list[Waiting]
    counts: dict[State, int]
    partials: list[Unproven]
    free: int
    reserve: int
    flow_runs: list[FlowRunSeen] | None
    remark: str = ""

    def rows(self) -> Iterator[Json]:
        """The JSON lines, each named for what it is; last the numbers."""
        yield from ({"run": _run_row(run)} for run in self.runs)
        for failure, until in self.waiting:
            yield {"failure": {**asdict(failure), "first": _iso(failure.first), "last": _iso(failure.last)}} | {
                "rests_until": _iso(until)
            }
        yield from ({"partial": one._asdict()} for one in self.partials)
        yield from ({"flow_run": one.row()} for one in self.flow_runs or ())
        counts = {state.value: self.counts.get(state, 0) for state in State}
        unproven = {"partials": len(self.partials), "partial_bytes": sum(one.bytes for one in self.partials)}
        yield {"status": {"root": str(self.root), **counts, **unproven, "free": self.free, "reserve": self.reserve}}

    def lines(self) -> Iterator[str]:
        """What a person reads."""
        yield str(self.root)
        on_disk = self.counts.get(State.PUBLISHED, 0) + self.counts.get(State.PRESENT, 0)
        skipped, failed = self.counts.get(State.SKIPPED, 0), self.counts.get(State.FAILED, 0)
        yield f"  {files(on_disk)} on disk, {skipped:,} skipped, {failed:,} failed"
        full = " - less than has to stay free" if self.free <= self.reserve else ""
        yield f"  {human_bytes(self.free)} free, {human_bytes(self.reserve)} of it reserved{full}"
        for section in (self._run_lines, self._flow_run_lines, self._failure_lines, self._partial_lines):
            yield from section()

    def _run_lines(self) -> Iterator[str]:
        yield (
            "Last runs:" if self.runs else "No run yet." if self.root.exists() else "No run yet, and no such directory."
        )
        for run in self.runs:
            yield f"  {_clock(run.started_at)}  {selection_words(run.selection)}"
            yield f"    {Summary(**run.summary).line() if run.summary else 'not ended: it runs, or it was killed'}"

    def _flow_run_lines(self) -> Iterator[str]:
        if self.remark:
            yield f"Prefect: {self.remark}"
        if self.flow_runs:
            yield "Under way in Prefect:"
        for one in self.flow_runs or ():
            yield f"  {one.state:12} {_clock(one.since)}  {one.name}"
            yield from (f"    waits for {wait.words()}" for wait in one.waits_for)

    def _failure_lines(self) -> Iterator[str]:
        if self.waiting:
            yield "Failed:"
        for failure, until in self.waiting[:_MOST_FAILURES]:
            runs = (
                f"{failure.failures} runs in a row, since {_clock(failure.first)}" if failure.failures > 1 else "once"
            )
            yield f"  {failure.path}"
            yield from wrapped(coded(failure.reason, failure.code), "    ")
            yield from wrapped(failure.next_step, "       ", first="    -> ")
            when = f"rests until {_clock(until)}, or `prefect-alyx retry`" if until else "tried again at the next run"
            yield f"    failed {runs}; {when}"
        yield from _rest(len(self.waiting) - _MOST_FAILURES)

    def _partial_lines(self) -> Iterator[str]:
        if self.partials:
            total = sum(one.bytes for one in self.partials)
            yield f"Begun, not proven yet: {files(len(self.partials))}, {human_bytes(total)}:"
        for one in self.partials[:_MOST_PARTIALS]:
            size = f" of {human_bytes(one.size)}" if one.size is not None else ""
            owner = "being written" if one.claimed else "to be continued"
            yield f"  {human_bytes(one.bytes)}{size}, {owner}: {one.identity[:24]}"
        yield from _rest(len(self.partials) - _MOST_PARTIALS)


def status(root: Path | None, settings: AlyxSettings, now: datetime | None = None) -> Status:
    """Look at a root; nothing is written, and nobody but a Prefect API that is configured or local is asked.

    Args:
        root: By default the settings' root, then ONE's cache directory.
        settings: Defaults.
        now: Clock, in UTC.

    Raises:
        DownloadError: `no-root` or `alyx-no-url`; a `ledger...` row; or the root's own.
    """
    known = root or settings.root
    place = known.expanduser().absolute() if known else find_root(None, settings, AlyxClient())
    with closing(read_ledger(place)) as book:
        runs, counts = book.last_runs(_MOST_RUNS), book.counts()
        resting = book.resting((now or datetime.now(UTC)) - REST)
        waiting = [Waiting(one, one.last + REST if one.path in resting else None) for one in book.failed()]
    flow_runs, remark = under_way()
    free = free_bytes(place)
    return Status(
        place, runs, waiting, counts, _partials(Tree(place).partials), free, settings.reserve_bytes, flow_runs, remark
    )


def _partials(folder: Path) -> list[Unproven]:
    """The partials of a tree, the largest first."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        identity, owner = path.name.split(".")[:2]
        size = identity.rpartition("-")[2]
        try:
            done = path.stat().st_size
        except FileNotFoundError:  # published meanwhile
            continue
        found.append(Unproven(identity, done, int(size) if size.isdigit() else None, owner != FREE))
    return sorted(found, key=lambda one: (-one.bytes, one.identity))


def _run_row(run: Run) -> Json:
    return {**run._asdict(), "started_at": _iso(run.started_at), "ended_at": _iso(run.ended_at)}


def _rest(count: int) -> Iterator[str]:
    if count > 0:
        yield f"  and {count:,} more"


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _clock(moment: datetime | None) -> str:
    """A moment on this machine's clock."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}" if moment else "-"
