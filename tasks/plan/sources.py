"""Where a dataset's bytes can be had from: its file records, the repositories, the precedence. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tasks.clients import PROC_PRECEDENCE, protocol_name
from tasks.clients.reach import host_name, names_this_machine
from tasks.clients.verdicts import DownloadError, Verdict, error
from tasks.model import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from tasks.model import Dataset, FileRecord, Json

    #: Of each file record of a dataset: its repository, whether it exists, whether it names kachery.
    Shape = tuple[tuple[str, bool | None, bool], ...]

AWS, HTTP, GLOBUS, KACHERY = PROC_PRECEDENCE

#: Stands for the repository of a dataset that kachery finds by its SHA-1 alone, whatever Alyx's file records say.
ANYWHERE = "kachery"

_SHA1 = 40  # hex characters
_KACHERY_KEYS = {"kachery_uri", "kachary_uri", "kachery_zone", "zone"}
_NOT_THERE = "exists is false"
_HERE = "its server would be this machine itself, and Alyx is elsewhere (PREFECT_INTEGRATIONS_ALYX_ALLOW_HOSTS)"
_NO_WAY = "the repository has no bucket, data_url, Globus endpoint or kachery zone"


def on_this_machine(repositories: Mapping[str, Json], alyx_url: str, allowed: Collection[str] = ()) -> set[str]:
    """Name the repositories that would be read from this very machine, where Alyx is another one.

    What listens on loopback trusts whoever asks, and everybody who may write into Alyx could make us ask.
    """
    if names_this_machine(host_name(alyx_url)):
        return set()
    return {name for name, repository in repositories.items() if any(_is_here(repository, allowed))}


def _is_here(repository: Json, allowed: Collection[str]) -> Iterator[bool]:
    for url in (repository.get("data_url"), _object(repository.get("json")).get("endpoint_url")):
        host = host_name(str(url or ""))
        yield host not in allowed and names_this_machine(host)


class Address(Protocol):
    """A client's `to_address`, found by protocol. Repository and record are None for kachery by digest alone."""

    def __call__(
        self, protocol: str, repository: Json | None, record: FileRecord | None, dataset: Dataset, /
    ) -> str: ...


class _Way(NamedTuple):
    """One conceivable way to a dataset, and what speaks against it.

    Attributes:
        record: Which of the dataset's file records names it; None for kachery by digest alone.
    """

    objection: str
    protocol: str = ""
    repository: str = ANYWHERE
    record: int | None = None


def protocols(repository: Json) -> tuple[str, ...]:
    """Return the protocols that a repository's own fields offer; Alyx has no field that names them.

    The `data_url` of a bucket is the bucket's own web address, so it does not make a second source of it;
    a personal endpoint is somebody's laptop, which only Globus reaches.
    """
    settings = _object(repository.get("json"))
    bucket = settings.get("bucket_name")
    shared = not repository.get("globus_is_personal")
    offers = {
        AWS: shared and (bucket or str(repository.get("name")).startswith("aws")),
        HTTP: shared and repository.get("data_url") and not bucket,
        GLOBUS: repository.get("globus_endpoint_id"),
        KACHERY: shared and names_kachery(settings),
    }
    return tuple(protocol for protocol, offered in offers.items() if offered)


def names_kachery(json: object) -> bool:
    """Whether the `json` of a repository or of a file record names a kachery address or zone."""
    return not _KACHERY_KEYS.isdisjoint(_object(json))


@dataclass(frozen=True)
class Router:
    """Finds a dataset's sources.

    Attributes:
        repositories: What Alyx answers for each data repository, by name.
        address: Gives the address at one source; raises DownloadError where there is none.
        precedence: Protocols to use, best first.
        configured: Protocols that have what they need on this machine; None for all.
        use: Repositories to keep to; None for all.
        avoid: Repositories to leave out.
        barred: Repositories whose servers are not to be asked; see :func:`on_this_machine`.
    """

    repositories: Mapping[str, Json]
    address: Address
    precedence: tuple[str, ...] = PROC_PRECEDENCE
    configured: Collection[str] | None = None
    use: Collection[str] | None = None
    avoid: Collection[str] = ()
    barred: Collection[str] = ()

    def __post_init__(self) -> None:
        """Spell every protocol as ONE does; raises ValueError for one that does not exist."""
        object.__setattr__(self, "precedence", tuple(dict.fromkeys(map(protocol_name, self.precedence))))
        if self.configured is not None:
            object.__setattr__(self, "configured", frozenset(map(protocol_name, self.configured)))

    def sources(self, dataset: Dataset) -> tuple[Source, ...]:
        """Return a dataset's sources, best first: by precedence, surely existing, shared before personal, by name.

        Raises:
            DownloadError: `no-source`, with every file record's reason for being none.
        """
        found: dict[Source, None] = {}
        refused: dict[str, list[str]] = defaultdict(list)
        for way in self._ways(*_shape(dataset)):
            objection = way.objection
            if not objection:
                try:
                    found[self._source(way, dataset)] = None
                except DownloadError as refusal:
                    if refusal.verdict is Verdict.STOP_RUN:
                        raise
                    objection = refusal.reason
            if objection:
                refused[objection].append(way.repository)
        if not found:
            raise error("no-source", self._why(refused))
        return tuple(found)

    def _source(self, way: _Way, dataset: Dataset) -> Source:
        record = None if way.record is None else dataset.records[way.record]
        repository = self.repositories[way.repository] if record else None
        return Source(way.protocol, way.repository, self.address(way.protocol, repository, record, dataset))

    @cached_property
    def _ways(self) -> Callable[[Shape, bool], tuple[_Way, ...]]:
        return lru_cache(maxsize=4096)(self._find_ways)  # most datasets of a lab lie at the same repositories

    def _find_ways(self, shape: Shape, by_digest: bool) -> tuple[_Way, ...]:
        """Find all ways to a dataset of this shape: refused ones, then the others, best first."""
        ranked = sorted(range(len(shape)), key=lambda number: self._rank(*shape[number]))
        ways = [way for number in ranked for way in self._ways_of(number, *shape[number])]
        if by_digest and all(way.protocol != KACHERY for way in ways):
            ways.append(_Way(self._objections[KACHERY], KACHERY))
        return tuple(sorted(ways, key=lambda way: -1 if way.objection else self.precedence.index(way.protocol)))

    def _ways_of(self, number: int, name: str, exists: bool | None, kachery: bool) -> list[_Way]:
        offered = (*self._offers.get(name, ()), *([KACHERY] if kachery else []))
        refusal = self._refusal(name, exists) or ("" if offered else _NO_WAY)
        if refusal:
            return [_Way(refusal, "", name, number)]
        return [_Way(self._objections[protocol], protocol, name, number) for protocol in dict.fromkeys(offered)]

    def _rank(self, name: str, exists: bool | None, _kachery: bool) -> tuple[bool, bool, str]:
        return exists is not True, name in self._personal, name

    def _refusal(self, name: str, exists: bool | None) -> str:
        """Return why a file record is none to ask, "" for a good one."""
        if exists is False:
            return _NOT_THERE
        if name in self.avoid or (self.use is not None and name not in self.use):
            return "this repository is left out on request"
        if name in self.barred:
            return _HERE
        return "" if name in self.repositories else "Alyx has no repository of this name"

    @cached_property
    def _offers(self) -> dict[str, tuple[str, ...]]:
        return {name: protocols(repository) for name, repository in self.repositories.items()}

    @cached_property
    def _personal(self) -> set[str]:
        return {name for name, repository in self.repositories.items() if repository.get("globus_is_personal")}

    @cached_property
    def _objections(self) -> dict[str, str]:
        """What speaks against each protocol, "" where nothing does."""
        ready = PROC_PRECEDENCE if self.configured is None else self.configured
        unready = {protocol: f"{protocol} is not configured" for protocol in PROC_PRECEDENCE if protocol not in ready}
        out = {
            protocol: f"{protocol} is not in the precedence"
            for protocol in PROC_PRECEDENCE
            if protocol not in self.precedence
        }
        return dict.fromkeys(PROC_PRECEDENCE, "") | unready | out

    def _why(self, refused: Mapping[str, list[str]]) -> str:
        """Say in words why there is no source."""
        absent = f"exists is false on {', '.join(refused[_NOT_THERE])}" if _NOT_THERE in refused else ""
        rest = [
            f"on {', '.join(map(self._place, names))}: {why.rstrip('.')}"
            for why, names in refused.items()
            if why != _NOT_THERE
        ]
        if rest:
            return f"Only {'; '.join(rest)}{f' ({absent})' if absent else ''}."
        if absent:
            return f"Alyx says it exists nowhere ({absent})."
        return "Registered, but on no server: Alyx has no file record."

    def _place(self, repository: str) -> str:
        return f"the personal endpoint {repository}" if repository in self._personal else repository


def _shape(dataset: Dataset) -> tuple[Shape, bool]:
    """Return what the ways to a dataset follow from, and whether its digest is one that kachery knows."""
    shape = [
        (record.repository, record.exists, record.json is not None and names_kachery(record.json))
        for record in dataset.records
    ]
    return tuple(shape), len(dataset.digest) == _SHA1


def _object(value: object) -> Json:
    """Return one of Alyx's json fields where it is an object; old rows hold a string, most null."""
    return value if isinstance(value, dict) else {}
