"""Decides what a run will do with every dataset, and freezes it as a Plan.

Pure: what the ledger knows, what lies on disk and how much room there is are handed in. Datasets are read once and not
kept; the lines of a large plan lie in a nameless temporary file.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, auto
from itertools import accumulate, groupby, islice
from operator import attrgetter, itemgetter
from sys import intern
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tasks.claims import refusals
from tasks.clients.paths import safe_path
from tasks.clients.proof import Expected
from tasks.clients.verdicts import DownloadError, Verdict, error
from tasks.layout import place_of
from tasks.model import Skip, Source, Transfer
from tasks.planfile import Lines, Plan, Share, Spool, Total, line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from tasks.model import Dataset, Failure, Proof, Stat
    from tasks.planfile import Space
    from tasks.sources import Router

    #: What the ledger proves of these paths.
    Known = Callable[[Sequence[str]], Mapping[str, Proof]]
    #: What stands at each of these paths, in order.
    Look = Callable[[Sequence[str]], Sequence[Stat | None]]

#: A batch is 10 to 60 seconds of work: so many files, or so many bytes, or some of both.
BATCH_FILES = 2000
BATCH_BYTES = 5_000_000_000
#: Task runs of a flow run: beyond that, batches grow.
MOST_BATCHES = 200
#: Batches to run side by side, as long as each keeps this share of a full one.
SIDE_BY_SIDE = 4
SMALLEST_BATCH = 0.05

_CHUNK = 5000
Item = TypeVar("Item")


class Standing(Enum):
    """How a dataset's file stands on disk."""

    PRESENT = auto()  # proven, unchanged since: nothing to do
    CHECK = auto()  # may be the registered bytes: verify and adopt, fetch only if that fails
    FETCH = auto()  # not there, or certainly other bytes


def standing(size: int | None, digest: str, proof: Proof | None, found: Stat | None) -> Standing:
    """Say how a file stands, from what is registered, what is proven, and what lies there."""
    if found is None or size not in (None, found[0]):
        return Standing.FETCH
    if proof and (proof.size, proof.mtime_ns) == found:
        if digest in ("", proof.digest):
            return Standing.PRESENT
        if len(digest) == len(proof.digest):
            return Standing.FETCH
    return Standing.FETCH if size is None and not digest else Standing.CHECK


def make_plan(
    datasets: Iterable[Dataset],
    *,
    root: str,
    router: Router,
    known: Known,
    look: Look,
    space: Space,
    resting: Mapping[str, Failure] | None = None,
    catalogue: str = "",
    left_out: Sequence[Skip] = (),
) -> Plan:
    """Decide what to do with every dataset.

    The same datasets over the same tree make the same plan, in whatever order the catalogue names them.

    Args:
        datasets: What the selection names; read once.
        root: Where the files go.
        router: Finds the sources.
        known: Gives the ledger's proofs of some paths (`Ledger.known`).
        look: Gives what stands at some paths (`disk.look`).
        space: What is free on disk, and what must stay free.
        resting: Failures that are not tried again yet, by path (`Ledger.resting`).
        catalogue: Which catalogue named the datasets.
        left_out: What the catalogue itself leaves out, with the reason; read when all datasets are.
    """
    draft = _Draft(router, resting or {})
    for chunk in _chunks(datasets):
        good = [dataset for dataset in chunk if draft.accepts(dataset)]
        paths = [dataset.path for dataset in good]
        proofs = known(paths)
        for dataset, found in zip(good, look(paths), strict=True):
            draft.place(dataset, proofs.get(dataset.path), found)
    draft.settle()
    draft.skips += left_out
    return draft.freeze(root, space, catalogue)


class _Entry(NamedTuple):
    """A transfer to plan: all but its line, which lies in the spool."""

    path: str
    size: int | None
    standing: Standing
    route: tuple[str, str]
    offset: int
    length: int


@dataclass
class _Draft:
    """A plan in the making."""

    router: Router
    resting: Mapping[str, Failure]
    spool: Spool = field(default_factory=Spool)
    entries: list[_Entry] = field(default_factory=list)
    present: dict[str, str] = field(default_factory=dict)
    present_bytes: int = 0
    skips: list[Skip] = field(default_factory=list)

    def accepts(self, dataset: Dataset) -> bool:
        """Whether a dataset's path may be looked at; a skip says why not."""
        try:
            safe_path(dataset.path)
        except DownloadError as refusal:
            self._skip(dataset, refusal.reason)
            return False
        return True

    def place(self, dataset: Dataset, proof: Proof | None, found: Stat | None) -> None:
        """Note what is to be done with a dataset."""
        stands = standing(dataset.size, dataset.digest, proof, found)
        if stands is Standing.PRESENT and found:
            self.present_bytes += found[0] if dataset.id not in self.present else 0
            self.present[dataset.id] = dataset.path
            return
        try:
            Expected.of(dataset.size, dataset.digest)
            self._want(dataset, stands)
        except DownloadError as refusal:
            if refusal.verdict is Verdict.STOP_RUN:
                raise
            self._skip(dataset, refusal.reason)

    def _want(self, dataset: Dataset, stands: Standing) -> None:
        try:
            sources = self._sources(dataset)
        except DownloadError as refusal:
            if refusal.verdict is Verdict.STOP_RUN:
                raise
            if stands is Standing.FETCH:
                raise
            sources = ()  # what lies on disk may still be proven
        self._enter(dataset, stands, sources)

    def _sources(self, dataset: Dataset) -> tuple[Source, ...]:
        failure = self.resting.get(dataset.path)
        if failure and (failure.size, failure.digest) == (dataset.size, dataset.digest):
            detail = f"Tried on {failure.last:%Y-%m-%d}; `prefect-alyx retry` tries again. {failure.reason}"
            raise error("no-source", detail)
        return self.router.sources(dataset)

    def _enter(self, dataset: Dataset, stands: Standing, sources: tuple[Source, ...]) -> None:
        transfer = Transfer(
            dataset.id, dataset.path, dataset.size, dataset.digest, sources, dataset.lab, dataset.session
        )
        row = line(transfer.to_json())
        first = sources[0] if sources else Source("", "", "")
        route = intern(first.protocol), intern(first.repository)
        self.entries.append(_Entry(dataset.path, dataset.size, stands, route, self.spool.put(row), len(row)))

    def settle(self) -> None:
        """Leave out what claims a name that another dataset has, or claims too."""
        paths = [entry.path for entry in self.entries]
        refused = refusals(paths, self.present, lambda index: self._transfer(self.entries[index]))
        self.skips += [Skip(claim.dataset, claim.path, reason) for claim, reason in refused.values() if reason]
        self.entries = [entry for index, entry in enumerate(self.entries) if index not in refused]

    def _transfer(self, entry: _Entry) -> Transfer:
        return Transfer.from_json(json.loads(self.spool.read(entry.offset, entry.length)))

    def _skip(self, dataset: Dataset, reason: str) -> None:
        self.skips.append(Skip(dataset.id, dataset.path, reason))

    def freeze(self, root: str, space: Space, catalogue: str) -> Plan:
        """Write the lines in batch order, add up, and make the plan."""
        body = Spool()
        fetch = [entry for entry in self.entries if entry.standing is Standing.FETCH]
        check = [entry for entry in self.entries if entry.standing is Standing.CHECK]
        total = _total(fetch)
        return Plan(
            batches=tuple(self._write(body, batch) for batch in cut(self.entries)),
            skip_lines=tuple(_write_skips(body, self.skips)),
            id=body.name(root),
            present_lines=tuple(_write_present(body, self.present)),
            root=root,
            catalogue=catalogue,
            fetch=total,
            check=_total(check),
            present=Total(len(self.present), self.present_bytes),
            skipped=len(self.skips),
            shares=tuple(_shares(fetch)),
            space=replace(space, adds=total.bytes),
            read=body.read,
        )

    def _write(self, body: Spool, batch: Sequence[_Entry]) -> Lines:
        start = body.size
        for entry in batch:
            body.put(self.spool.read(entry.offset, entry.length))
        return Lines(start, body.size - start, len(batch), _total(batch).bytes, *_span(batch))


def cut(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """Cut transfers into batches of about equal work; neighbours in the tree stay together, large files go first."""
    ordered = sorted(entries, key=attrgetter("path"))
    costs = [1 / BATCH_FILES + (entry.size or 0) / BATCH_BYTES for entry in ordered]
    total = sum(costs)
    count = min(MOST_BATCHES, max(1, math.ceil(total), min(SIDE_BY_SIDE, int(total / SMALLEST_BATCH))))
    # A transfer belongs to the share of the total work in which its own middle lies.
    numbers = (int((end - cost / 2) / total * count) for cost, end in zip(costs, accumulate(costs), strict=True))
    for _, batch in groupby(zip(numbers, ordered, strict=True), key=itemgetter(0)):
        yield sorted((entry for _, entry in batch), key=lambda entry: (-(entry.size or 0), entry.path))


def _write_skips(body: Spool, skips: Iterable[Skip]) -> Iterator[Lines]:
    for chunk in _chunks(sorted(skips, key=attrgetter("path", "dataset"))):
        start = body.size
        for skip in chunk:
            body.put(line(asdict(skip)))
        yield Lines(start, body.size - start, len(chunk))


def _write_present(body: Spool, present: Mapping[str, str]) -> Iterator[Lines]:
    """Write many a line: most files are present most of the time, and a line each would cost more than the look."""
    for chunk in _chunks(present.items()):
        start = body.put(line(dict(chunk)))
        yield Lines(start, body.size - start, len(chunk))


def _total(entries: Collection[_Entry]) -> Total:
    unknown = sum(entry.size is None for entry in entries)
    return Total(len(entries), sum(entry.size or 0 for entry in entries), unknown)


def _span(entries: Iterable[_Entry]) -> tuple[str, str, str]:
    """The labs of some files' sessions, and the first and last day."""
    places = [place for entry in entries if (place := place_of(entry.path))]
    days = [place.day for place in places]
    labs = sorted({place.lab for place in places} - {""})
    return ", ".join(labs), min(days, default=""), max(days, default="")


def _shares(entries: Iterable[_Entry]) -> Iterator[Share]:
    by_route = defaultdict(list)
    for entry in entries:
        by_route[entry.route].append(entry)
    totals = ((route, _total(members)) for route, members in by_route.items())
    for route, total in sorted(totals, key=lambda item: (-item[1].bytes, -item[1].files, item[0])):
        yield Share(*route, total.files, total.bytes)


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
