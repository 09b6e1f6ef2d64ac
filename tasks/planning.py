"""Decides what a run will do with every dataset, and freezes it as a Plan.

Pure: what the ledger knows, what lies on disk and how much room there is are handed in. Datasets are read once and not
kept: what a plan of any size holds lies in nameless temporary files.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import compress, groupby, islice
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, TypeVar

from tasks.clients.paths import safe_path
from tasks.clients.proof import Expected
from tasks.clients.verdicts import DownloadError, Verdict, error
from tasks.layout import place_of
from tasks.model import Skip, Transfer
from tasks.plan.batching import cut, work
from tasks.plan.claims import judged, name_key
from tasks.plan.entries import Entries, Entry
from tasks.plan.planfile import Lines, Plan, Share, Total
from tasks.plan.present import Present, gathered
from tasks.plan.spool import Spool, line, parsed
from tasks.plan.standing import Standing, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tasks.model import Dataset, Failure, Source, Stat
    from tasks.plan.planfile import Space
    from tasks.plan.present import Folder
    from tasks.plan.sources import Router
    from tasks.plan.standing import Proven

    #: What the ledger proves of each of these paths, in order.
    Known = Callable[[Sequence[str]], Sequence[Proven | None]]
    #: What stands in a folder under each of these names, in order.
    Look = Callable[[str, Sequence[str]], Sequence[Stat | None]]

#: What a database holds as a number.
_LARGEST = (1 << 63) - 1
_CHUNK = 1000
_path = attrgetter("path")
Item = TypeVar("Item")


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
    left_out: list[Skip] | None = None,
) -> Plan:
    """Decide what to do with every dataset.

    The same datasets over the same tree make the same plan, in whatever order the catalogue names them.

    Args:
        datasets: What the selection names; read once.
        root: Where the files go.
        router: Finds the sources.
        known: Gives the ledger's proofs of some paths (`Ledger.proofs`).
        look: Gives what stands in a folder (`disk.look`).
        space: What is free on disk, and what must stay free.
        resting: Failures that are not tried again yet, by path (`Ledger.resting`).
        catalogue: Which catalogue named the datasets.
        left_out: Where the catalogue puts what it leaves out, with the reason, while it names datasets; emptied.
    """
    left_out = [] if left_out is None else left_out
    draft = _Draft(router, resting or {})
    for chunk in _chunks(datasets):
        # A session's datasets come in the order of their ids; by path, a folder is looked into once.
        draft.enter(sorted(chunk, key=_path), known, look)
        draft.leave_out(left_out)
        left_out.clear()
    draft.leave_out(left_out)
    return draft.freeze(root, space, catalogue)


@dataclass
class _Draft:
    """A plan in the making: the lines in a spool, what is needed to sort and judge them in a database.

    What is present costs little: a run with nothing to do is the most frequent one.

    Attributes:
        asked: Files that are wanted, those that are left out for their names included: what batches are measured by.
        asked_bytes: Their bytes.
    """

    router: Router
    resting: Mapping[str, Failure]
    spool: Spool = field(default_factory=Spool)
    present: Present = field(default_factory=Present)
    wanted: Entries = field(default_factory=Entries)
    skips: Entries = field(default_factory=Entries)
    routes: dict[tuple[str, str], int] = field(default_factory=dict)
    asked: int = 0
    asked_bytes: int = 0

    def enter(self, chunk: Sequence[Dataset], known: Known, look: Look) -> None:
        """Note what is to be done with some datasets, in the order of their paths."""
        proofs = known(list(map(_path, chunk)))
        # A path that is proven was accepted before it was written to, and is only looked at here.
        accepted = [proof is not None or self._accepts(one) for one, proof in zip(chunk, proofs, strict=True)]
        good, proofs, start = list(compress(chunk, accepted)), list(compress(proofs, accepted)), 0
        for folder, places in groupby([path.rpartition("/") for path in map(_path, good)], key=itemgetter(0)):
            names = [name for _, _, name in places]
            there = slice(start, start + len(names))
            self._enter_folder(folder, names, good[there], proofs[there], look(folder, names))
            start += len(names)

    def _enter_folder(
        self,
        folder: str,
        names: Sequence[str],
        datasets: Sequence[Dataset],
        proofs: Sequence[Proven | None],
        stats: Sequence[Stat | None],
    ) -> None:
        present, wanted = [], []
        for name, dataset, proof, found in zip(names, datasets, proofs, stats, strict=True):
            # What `standing` says of most files of most runs, without a call for each.
            is_plain = found and found[0] == dataset.size and proof == (dataset.size, dataset.digest, found[1])
            stands = Standing.PRESENT if is_plain else standing(dataset.size, dataset.digest, proof, found)
            if found and stands is Standing.PRESENT:
                present.append((name, dataset.id, found[0]))
            elif entry := self._want(dataset, stands):
                wanted.append(entry)
        self.present.add(folder, present)
        self.wanted.add(wanted)
        self.asked += len(wanted)
        self.asked_bytes += sum(entry.size or 0 for entry in wanted)

    def leave_out(self, skips: Iterable[Skip]) -> None:
        """Note what is left out, and why."""
        self.skips.add(map(self._skipped, skips))

    def _accepts(self, dataset: Dataset) -> bool:
        """Whether a dataset's path may be looked at; a skip says why not."""
        try:
            safe_path(dataset.path)
        except DownloadError as refusal:
            self._skip(dataset, refusal.reason)
            return False
        return True

    def _want(self, dataset: Dataset, stands: Standing) -> Entry | None:
        """Say what is to be done with a dataset that is not present; None where it is left out."""
        if dataset.size is not None and not 0 <= dataset.size <= _LARGEST:
            self._skip(dataset, f"Alyx registers a size that no file has: {dataset.size}.")
            return None
        try:
            Expected.of(dataset.size, dataset.digest)
            sources = self._wanted_sources(dataset, stands)
        except DownloadError as refusal:
            if refusal.verdict is Verdict.STOP_RUN:
                raise
            self._skip(dataset, refusal.reason)
            return None
        transfer = Transfer(
            dataset.id, dataset.path, dataset.size, dataset.digest, sources, dataset.lab, dataset.session
        )
        text = line(transfer.to_row())
        key, route = name_key(dataset.path), self._route(sources)
        return Entry(key, dataset.path, stands.value, dataset.size, route, self.spool.put(text), len(text))

    def _wanted_sources(self, dataset: Dataset, stands: Standing) -> tuple[Source, ...]:
        try:
            return self._sources(dataset)
        except DownloadError as refusal:
            if refusal.verdict is Verdict.STOP_RUN or stands is Standing.FETCH:
                raise
            return ()  # what lies on disk may still be proven

    def _sources(self, dataset: Dataset) -> tuple[Source, ...]:
        failure = self.resting.get(dataset.path)
        if failure and (failure.size, failure.digest) == (dataset.size, dataset.digest):
            detail = f"Tried on {failure.last:%Y-%m-%d}; `prefect-alyx retry` tries again. {failure.reason}"
            raise error("no-source", detail)
        return self.router.sources(dataset)

    def _route(self, sources: Sequence[Source]) -> int:
        route = (sources[0].protocol, sources[0].repository) if sources else ("", "")
        return self.routes.setdefault(route, len(self.routes))

    def _skip(self, dataset: Dataset, reason: str) -> None:
        self.leave_out([Skip(dataset.id, dataset.path, reason)])

    def _skipped(self, skip: Skip) -> Entry:
        text = line(skip)
        key = f"{skip.path}\0{skip.dataset}".encode("utf-8", "surrogatepass")
        return Entry(key, "", 0, None, 0, self.spool.put(text), len(text))

    def freeze(self, root: str, space: Space, catalogue: str) -> Plan:
        """Judge who may have its path, write the lines in batch order, add up, and make the plan."""
        body, sums = Spool(), _Sums()
        accepted = cut(map(sums.added, self._accepted()), work(self.asked_bytes, self.asked))
        batches = tuple(self._write(body, batch) for batch in accepted)
        skipped = tuple(self._write(body, some) for some in _chunks(self.skips.sorted()))
        plan_id = body.name(root)
        there = tuple(_write_present(body, some) for some in gathered(self.present.sorted(), _CHUNK))
        return Plan(
            id=plan_id,
            root=root,
            catalogue=catalogue,
            fetch=sums.of(Standing.FETCH),
            check=sums.of(Standing.CHECK),
            present=Total(sum(lines.files for lines in there), sum(lines.bytes for lines in there)),
            skipped=sum(lines.files for lines in skipped),
            shares=tuple(sums.shares(list(self.routes))),
            space=replace(space, adds=sums.of(Standing.FETCH).bytes),
            batches=batches,
            skip_lines=skipped,
            present_lines=there,
            read=body.read,
        )

    def _accepted(self) -> Iterator[Entry]:
        """Yield the entries that stay; those that claim a name that another one has, or claims too, are left out."""
        for entry, reason in judged(self.wanted.sorted(), self.present, self._read):
            if reason is None:
                yield entry
            elif reason:
                refused = self._read(entry)
                self.leave_out([Skip(refused.dataset, refused.path, reason)])

    def _read(self, entry: Entry) -> Transfer:
        return Transfer.from_row(parsed(self.spool.read(entry.offset, entry.length)))

    def _write(self, body: Spool, entries: Sequence[Entry]) -> Lines:
        start = body.size
        for some in _chunks(entries):
            body.put(b"".join(self._lines(some)))
        size = sum(entry.size or 0 for entry in entries)
        return Lines(start, body.size - start, len(entries), size, *_span(entries))

    def _lines(self, entries: Sequence[Entry]) -> list[bytes]:
        """Read their lines in the order in which they lie: going to and fro takes longer."""
        places = sorted((entry.offset, entry.length) for entry in entries)
        lines = {offset: self.spool.read(offset, length) for offset, length in places}
        return [lines[entry.offset] for entry in entries]


def _write_present(body: Spool, folders: Sequence[Folder]) -> Lines:
    start = body.put(b"".join(folder.line for folder in folders))
    files, size = sum(folder.files for folder in folders), sum(folder.size for folder in folders)
    return Lines(start, body.size - start, files, size)


class _Sums:
    """What the wanted entries of a plan add up to."""

    def __init__(self) -> None:
        self._totals: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        self._by_route: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])

    def added(self, entry: Entry) -> Entry:
        """Add one entry, and return it."""
        sums = [self._totals[entry.standing]]
        if entry.standing == Standing.FETCH.value:
            sums.append(self._by_route[entry.route])
        for one in sums:
            one[0] += 1
            one[1] += entry.size or 0
            one[2] += entry.size is None
        return entry

    def of(self, standing: Standing) -> Total:
        """The files that stand so."""
        return Total(*self._totals[standing.value])

    def shares(self, routes: Sequence[tuple[str, str]]) -> Iterator[Share]:
        """What each source is asked for first, the largest share first."""
        named = ((routes[number], Total(*sums)) for number, sums in self._by_route.items())
        for route, total in sorted(named, key=lambda item: (-item[1].bytes, -item[1].files, item[0])):
            yield Share(*route, total.files, total.bytes)


def _span(entries: Iterable[Entry]) -> tuple[str, str, str]:
    """The labs of some files' sessions, and the first and last day."""
    folders = {entry.path.rpartition("/")[0] for entry in entries}
    places = [place for folder in folders if (place := place_of(f"{folder}/"))]
    days = [place.day for place in places]
    labs = sorted({place.lab for place in places} - {""})
    return ", ".join(labs), min(days, default=""), max(days, default="")


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
