"""The data of the sandbox's two labs: sessions, datasets, and what is odd about some of them.

Everything follows from the seed; identifiers follow from the paths alone. Exactly one dataset
(`wrong-digest`) must fail; those that neither HTTP nor S3 can give say so in their records.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deployments.sandbox import content
from deployments.sandbox.model import Dataset, Record, Repository, Session, State, Truth, digest, fate, identify

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

PUBLIC_BUCKET = "sandbox-brain-public"
PRIVATE_BUCKET = "sandbox-brain-private"
BUCKETS = {"cortexlab": PUBLIC_BUCKET, "churchlandlab": PRIVATE_BUCKET}
LABS = tuple(BUCKETS)
REVISIONS = ("2024-01-01", "2024-06-15")
RELEASE, INTERNAL = "2024_Q3_Sandbox_et_al", "internal_only"
TAGS = {RELEASE: True, INTERNAL: False}  # is it public and protected
#: The two servers of files, and the one of objects: what can be had without Globus.
STREAMING = ("http", "members", "s3")

_EPOCH = datetime(2024, 7, 1, 12)  # noqa: DTZ001  (Alyx answers naive times)
_EVERYWHERE = dict.fromkeys(("flatiron", "aws", "globus", "SR"), State.GOOD)
_STREAMED = {"flatiron": State.GOOD, "aws": State.GOOD}
_NOWHERE = dict.fromkeys(_EVERYWHERE, State.ABSENT)
_PROBE = "raw_ephys_data/probe00"
_BULK_SESSION = 500  # files a session: one page of Alyx holds them


@dataclass(frozen=True, slots=True)
class _Row:
    """One dataset before it is anywhere: its name, and how its bytes are made."""

    collection: str
    name: str
    make: content.Maker
    size: int
    type: str = ""
    revision: str = ""
    default: bool = True

    @property
    def path(self) -> str:
        parts = (self.collection, self.revision and f"#{self.revision}#", self.name)
        return "/".join(filter(None, parts))


@dataclass(frozen=True, slots=True)
class _Odd:
    """How one dataset differs from the rest."""

    kind: str
    records: Mapping[str, State] = field(default_factory=lambda: _EVERYWHERE)
    hash: Callable[[bytes], str] = digest
    size: Callable[[bytes], int | None] = len
    qc: str = "NOT_SET"


_STANDARD = (
    _Row("alf", "_ibl_trials.table.pqt", content.parquet, 20_000),
    _Row("alf", "_ibl_wheel.position.npy", content.levels, 80_000),
    _Row("alf", "_ibl_wheel.timestamps.npy", content.times, 80_000),
    _Row("alf", "licks.times.npy", content.times, 16_000),
    _Row("alf/probe00", "spikes.times.npy", content.times, 160_000),
    _Row("alf/probe00", "spikes.clusters.npy", content.labels, 80_000),
    _Row("alf/probe00", "clusters.metrics.csv", content.commas, 12_000),
    _Row(_PROBE, "_spikeglx_ephysData_g0_t0.imec0.ap.cbin", content.noise, 400_000, "ephysData.raw.ap"),
    _Row(_PROBE, "_spikeglx_ephysData_g0_t0.imec0.sync.tsv", content.tabs, 10_000, "ephysData.raw.sync"),
    _Row("raw_video_data", "_iblrig_leftCamera.raw.mp4", content.video, 300_000, "camera.raw"),
    _Row("raw_behavior_data", "_iblrig_taskSettings.raw.json", content.settings, 12_000),
)
_BIG = replace(_STANDARD[7], size=8_000_000)
_REVISED = tuple(
    replace(_STANDARD[4], revision=revision, default=revision == REVISIONS[-1]) for revision in ("", *REVISIONS)
)
_LONG = (*_STANDARD[:4], *_REVISED, *_STANDARD[5:7], _BIG, *_STANDARD[8:])
_UNICODE = _Row("alf", "notes.table Größe 日本 1.csv", content.commas, 10_000, "notes.table")
_EMPTY = _Row("alf", "licks.raw.npy", content.nothing, 0)
_SESSIONS: tuple[tuple[str, str, str, int | None, tuple[_Row, ...]], ...] = (
    ("cortexlab", "KS005", "2019-04-01T10:00:00.123000", 1, _LONG),
    ("cortexlab", "KS005", "2019-04-02T09:30:12", 1, _STANDARD),
    ("cortexlab", "KS014", "2020-11-10T15:40:02.500000", 2, _STANDARD),
    ("churchlandlab", "CSHL_003", "2019-05-07T11:05:30", 1, (*_STANDARD, _UNICODE, _EMPTY)),
    ("churchlandlab", "CSHL_003", "2019-05-08T11:02:00", 1, _STANDARD),
    ("churchlandlab", "CSHL_003", "2019-05-09T08:00:00", None, ()),
)  # fmt: skip
_ODDITIES = {
    (0, "alf/_ibl_wheel.position.npy"): _Odd("http-absent", {"flatiron": State.ABSENT, "aws": State.GOOD}),
    (0, _BIG.path): _Odd("multipart", _EVERYWHERE | {"SR": State.ABSENT}),
    (1, "alf/_ibl_wheel.position.npy"): _Odd("only-s3", {"aws": State.GOOD}),
    (1, "alf/_ibl_wheel.timestamps.npy"): _Odd("only-http", {"flatiron": State.GOOD}),
    (1, "alf/licks.times.npy"): _Odd("s3-lost", _EVERYWHERE | {"aws": State.LOST}),
    (1, "alf/probe00/spikes.clusters.npy"): _Odd("critical", qc="CRITICAL"),
    (1, "alf/probe00/clusters.metrics.csv"): _Odd("passed", qc="PASS"),
    (2, "alf/licks.times.npy"): _Odd("http-lost", _EVERYWHERE | {"flatiron": State.LOST}),
    (2, "alf/probe00/spikes.times.npy"): _Odd("wrong-digest", hash=lambda true: digest(true + b"?")),
    (2, "raw_video_data/_iblrig_leftCamera.raw.mp4"): _Odd("members", {"members": State.GOOD, "SR": State.ABSENT}),
    (2, "alf/probe00/clusters.metrics.csv"): _Odd("no-records", {}),
    (3, "alf/probe00/spikes.times.npy"): _Odd("s3-stale", _EVERYWHERE | {"aws": State.STALE}),
    (3, "alf/_ibl_trials.table.pqt"): _Odd("sha1", hash=lambda true: digest(true, "sha1")),
    (3, "alf/_ibl_wheel.position.npy"): _Odd("dashes", hash=lambda true: _dashed(digest(true))),
    (3, "raw_behavior_data/_iblrig_taskSettings.raw.json"): _Odd("no-hash", hash=lambda _: ""),
    (3, _UNICODE.path): _Odd("unicode"),
    (3, _EMPTY.path): _Odd("zero-byte"),
    (4, "alf/probe00/spikes.clusters.npy"): _Odd("no-size", size=lambda _: None),
    (4, "raw_video_data/_iblrig_leftCamera.raw.mp4"): _Odd("only-laptop", _NOWHERE | {"SR": State.GOOD}),
    (4, "alf/licks.times.npy"): _Odd("nowhere", _NOWHERE),
    (4, "alf/probe00/clusters.metrics.csv"): _Odd("warned", qc="WARNING"),
}


@dataclass(slots=True)
class World:
    """What Alyx knows and what is true: the one state behind all servers of a sandbox."""

    repositories: dict[str, Repository]
    sessions: dict[str, Session] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)

    def odd(self, kind: str) -> Dataset:
        """Return the dataset that is odd in this way.

        Raises:
            LookupError: No dataset is.
        """
        for dataset in self.datasets.values():
            if dataset.kind == kind:
                return dataset
        raise LookupError(f"No dataset of the sandbox is {kind!r}.")

    def manifest(self, servers: Collection[str] = STREAMING) -> dict[str, Truth]:
        """Return the truth about every dataset, by its id, for a download from these servers."""
        return {each.id: _truth(each, servers, self.repositories) for each in self.datasets.values()}

    def copy(self) -> World:
        """Return a world that can be changed without changing this one."""
        return World(dict(self.repositories), dict(self.sessions), dict(self.datasets))

    def add(self, session: Session, collection: str, name: str, true: bytes) -> Dataset:
        """Register a dataset that lies at HTTP and S3, as a lab does that goes on recording."""
        row = _Row(collection, name, lambda *_: true, len(true))
        dataset = _dataset(session, row, _Odd("", _STREAMED), true, self._now())
        self.datasets[dataset.id] = dataset
        return dataset

    def rewrite(self, dataset: Dataset, true: bytes) -> Dataset:
        """Register other bytes for a dataset, as a lab does that processes its data again."""
        changed = replace(dataset, content=true, size=len(true), hash=digest(true), changed=self._now())
        self.datasets[dataset.id] = changed
        return changed

    def _now(self) -> datetime:
        """Return a naive time that is later than every other change."""
        latest = max((each.changed for each in self.datasets.values()), default=_EPOCH)
        return max(latest + timedelta(seconds=1), datetime.now(UTC).replace(tzinfo=None))


def build(seed: int = 0, files: int = 0, file_bytes: int = 2_000) -> World:
    """Return the world of two labs, and `files` more datasets of `file_bytes` each in sessions of their own."""
    return _built(seed, files, file_bytes).copy()


@functools.lru_cache(maxsize=2)
def _built(seed: int, files: int, file_bytes: int) -> World:
    world = World({repository.name: repository for repository in _repositories()})
    for index, (lab, subject, start, number, rows) in enumerate(_SESSIONS):
        session = _session(lab, subject, datetime.fromisoformat(start), number)
        world.sessions[session.id] = session
        _fill(world, session, rows, seed, {path: odd for (at, path), odd in _ODDITIES.items() if at == index})
    aggregate = _aggregate(seed, _EPOCH + timedelta(minutes=len(world.datasets)))
    world.datasets[aggregate.id] = aggregate
    for session, rows in _bulk(files, file_bytes):
        world.sessions[session.id] = session
        _fill(world, session, rows, seed, dict.fromkeys((row.path for row in rows), _Odd("", _STREAMED)))
    return world


def _repositories() -> Iterator[Repository]:
    for lab in LABS:
        path = f"/{lab}/Subjects/"
        yield Repository(f"flatiron_{lab}", lab, "http", path)
        yield Repository(f"aws_{lab}", lab, "s3", f"data{path}", bucket=BUCKETS[lab])
        yield Repository(f"globus_{lab}", lab, "globus", path, endpoint=identify("endpoint", lab))
        laptop = identify("endpoint", lab, "laptop")
        yield Repository(f"{lab}_SR", lab, "globus", "/mnt/s0/Data/Subjects/", personal=True, endpoint=laptop)
    yield Repository("members_cortexlab", "cortexlab", "members", "/cortexlab/Subjects/")
    yield Repository("flatiron_aggregates", "cortexlab", "http", "/aggregates/")


def _session(lab: str, subject: str, start: datetime, number: int | None) -> Session:
    return Session(identify("session", lab, subject, start.date(), number), lab, subject, start, number)


def _fill(world: World, session: Session, rows: tuple[_Row, ...], seed: int, odd: dict[str, _Odd]) -> None:
    for row in rows:
        rng = random.Random(f"{seed}/{session.id}/{row.path}")
        created = _EPOCH + timedelta(minutes=len(world.datasets))
        each = _dataset(session, row, odd.get(row.path, _Odd("")), row.make(rng, row.size), created)
        world.datasets[each.id] = each


def _dataset(session: Session, row: _Row, odd: _Odd, true: bytes, created: datetime) -> Dataset:
    relative = f"{session.path}/{row.path}"
    names = {family: f"{family}_{session.lab}" for family in odd.records} | {"SR": f"{session.lab}_SR"}
    return Dataset(
        id=identify("dataset", session.lab, relative),
        lab=session.lab,
        session=session.id,
        collection=row.collection,
        name=row.name,
        type=row.type or _type(row.name),
        path=f"{session.lab}/Subjects/{relative}",
        content=true,
        size=odd.size(true),
        hash=odd.hash(true),
        records=tuple(Record(names[family], relative, state) for family, state in odd.records.items()),
        created=created,
        changed=created + timedelta(microseconds=373_371),
        revision=row.revision,
        default=row.default,
        tags=_tags(row),
        qc=odd.qc,
        kind=odd.kind,
    )


def _tags(row: _Row) -> tuple[str, ...]:
    if row.collection == "alf/probe00":
        return (RELEASE,)
    return (INTERNAL,) if row.collection == "raw_behavior_data" else ()


def _type(name: str) -> str:
    """Return the dataset type of an ALF name: object and attribute, without the lab's own prefix."""
    return ".".join(name.removeprefix("_ibl_").removeprefix("_iblrig_").split(".")[:2])


def _aggregate(seed: int, created: datetime) -> Dataset:
    relative = "Subjects/cortexlab/KS005/_ibl_subjectTrials.table.pqt"
    true = content.parquet(random.Random(f"{seed}/{relative}"), 30_000)
    return Dataset(
        id=identify("dataset", "aggregates", relative),
        lab="cortexlab",
        session=None,
        collection="cortexlab/KS005",
        name="_ibl_subjectTrials.table.pqt",
        type="subjectTrials.table",
        path=f"aggregates/{relative}",
        content=true,
        size=len(true),
        hash=digest(true),
        records=(Record("flatiron_aggregates", relative),),
        created=created,
        changed=created,
        kind="aggregate",
    )


def _bulk(files: int, size: int) -> Iterator[tuple[Session, tuple[_Row, ...]]]:
    for first in range(0, files, _BULK_SESSION):
        start = datetime(2023, 1, 1, 9) + timedelta(days=first // _BULK_SESSION)  # noqa: DTZ001  (as Alyx)
        names = (f"bulk.part{index:06d}.npy" for index in range(first, min(first + _BULK_SESSION, files)))
        rows = tuple(_Row("alf", name, content.labels, size, "bulk.part") for name in names)
        yield _session("cortexlab", "BULK_001", start, 1), rows


def _dashed(md5: str) -> str:
    return "-".join((md5[:8], md5[8:12], md5[12:16], md5[16:20], md5[20:]))


def _truth(dataset: Dataset, servers: Collection[str], repositories: dict[str, Repository]) -> Truth:
    true = dataset.content
    return Truth(
        dataset.id,
        dataset.path,
        len(true),
        digest(true),
        digest(true, "sha1"),
        fate(dataset, servers, repositories),
        dataset.kind,
    )
