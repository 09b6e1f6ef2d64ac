"""The words of the design as frozen types: dataset, source, transfer, outcome.

Nothing here knows Prefect, Alyx or a protocol; everything is small, picklable and JSON-able. What a run makes of every
file is a named tuple, which takes a third of the time that a frozen dataclass takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    #: Values without their names: half the time to read, for what is read of every file.
    Row = Sequence[Any]

Json = dict[str, Any]


class State(StrEnum):
    """What became of one transfer."""

    PUBLISHED = "published"
    PRESENT = "present"
    SKIPPED = "skipped"
    FAILED = "failed"


class FileRecord(NamedTuple):
    """One Alyx file record: a dataset's place on one repository.

    Attributes:
        repository: Name of the data repository.
        relative_path: Path as registered, `subject/date/number[/collection][/#revision#]/name`, raw.
        exists: What Alyx believes; None where the catalogue does not say.
        json: The record's own free-form field (kachery addresses may lie there).
    """

    repository: str
    relative_path: str
    exists: bool | None = True
    json: Json | None = None


class Dataset(NamedTuple):
    """One Alyx dataset, as every catalogue answers it.

    Attributes:
        id: Dataset UUID, lower case with hyphens.
        session: Session UUID, or None for aggregates.
        lab: Name of the lab, or None where unknown.
        path: Local path under the root, where ONE puts it, POSIX separators, not yet checked for safety.
        size: Bytes as registered, or None.
        digest: Hex digits as registered, dashes removed, lower case; "" where Alyx has none.
        revision: Name of the revision, "" for none.
        records: Where the bytes may lie.
    """

    id: str
    session: str | None
    lab: str | None
    path: str
    size: int | None
    digest: str
    revision: str = ""
    records: tuple[FileRecord, ...] = ()


class Source(NamedTuple):
    """One place a dataset's bytes can be had from."""

    protocol: str
    repository: str
    address: str


class Transfer(NamedTuple):
    """A dataset, its sources in order of precedence, and its destination under the root."""

    dataset: str
    path: str
    size: int | None
    digest: str
    sources: tuple[Source, ...]
    lab: str | None = None
    session: str | None = None

    def to_row(self) -> Row:
        """Return what lies in a plan on disk: the values, and those of each source."""
        return (*self[:4], tuple(map(tuple, self.sources)), *self[5:])

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Rebuild what lies in a plan on disk."""
        return cls._make((*row[:4], tuple(map(Source._make, row[4])), *row[5:]))


@dataclass(frozen=True, slots=True)
class Skip:
    """A dataset that the plan leaves out, and why."""

    dataset: str
    path: str
    reason: str


class Outcome(NamedTuple):
    """What became of one transfer; one line of ``--json``.

    Attributes:
        source: Repository that gave the bytes, or the last one asked; "" where none was.
        bytes: Bytes received over the network, thrown-away attempts included.
        attempts: Requests for bytes that were sent.
        code: The row of `verdicts.RULES` that a failure belongs to, "" otherwise.
        size: Bytes: for files on disk what lies there, otherwise what Alyx registers.
        verified: "md5", "sha1" or "size" for files on disk, "" otherwise.
        wrong: Repositories that gave other bytes than Alyx registers, with the digest of these, once for each time.
        seconds: What its sources took, waits included.
    """

    dataset: str
    path: str
    state: State
    source: str = ""
    protocol: str = ""
    bytes: int = 0
    attempts: int = 0
    verdict: str = ""
    reason: str = ""
    next_step: str = ""
    size: int | None = None
    digest: str = ""
    verified: str = ""
    mtime_ns: int | None = None
    code: str = ""
    wrong: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0

    def to_json(self) -> Json:
        """Return the public record: the keys of the ``--json`` contract, in its order."""
        keys = ("dataset", "path", "state", "source", "protocol", "bytes", "attempts", "verdict", "reason")
        return {key: getattr(self, key) for key in keys}


#: A regular file's size and time of change in nanoseconds, as the disk says.
Stat = tuple[int, int]


class Proof(NamedTuple):
    """What the ledger knows to be proven: a file had these bytes when its stat was this."""

    size: int
    digest: str
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A transfer whose last outcome was a failure, and which is still wanted.

    Attributes:
        size: Bytes that Alyx registered then.
        digest: Digest that Alyx registered then.
        failures: How many runs in a row it failed.
        first: When the first of them failed.
        last: When the last of them failed.
    """

    dataset: str
    path: str
    source: str
    protocol: str
    attempts: int
    verdict: str
    code: str
    reason: str
    next_step: str
    size: int | None
    digest: str
    failures: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """The one numeric line of a run: the same in log, artifact, event and JSON."""

    files: int = 0
    bytes: int = 0
    published: int = 0
    present: int = 0
    skipped: int = 0
    failed: int = 0
    retried: int = 0
    seconds: float = 0.0
    #: Set where the run had to stop early (disk full, credentials refused); not part of the line.
    stopped: str = field(default="", compare=False)

    @classmethod
    def of(cls, outcomes: Iterable[Outcome], *, seconds: float = 0.0) -> Self:
        """Count outcomes; `retried` is the number of files that needed more than one request."""
        files = moved = retried = 0
        counts = dict.fromkeys(State, 0)
        for outcome in outcomes:
            files += 1
            moved += outcome.bytes
            counts[outcome.state] += 1
            retried += outcome.attempts > 1
        return cls(
            files,
            moved,
            counts[State.PUBLISHED],
            counts[State.PRESENT],
            counts[State.SKIPPED],
            counts[State.FAILED],
            retried,
            round(seconds, 3),
        )

    def __add__(self, other: Summary) -> Summary:
        """Sum counts; seconds are the longer of the two, for batches run side by side."""
        names = [f.name for f in fields(self) if f.type == "int"]
        sums = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Summary(**sums, seconds=max(self.seconds, other.seconds), stopped=self.stopped or other.stopped)

    def lasting(self, seconds: float) -> Summary:
        """The same numbers for a run that took so long."""
        return replace(self, seconds=round(seconds, 3))

    def to_json(self) -> Json:
        """Return the eight public numbers."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "stopped"}

    def line(self) -> str:
        """Return the one line that every run ends with."""
        return " ".join(f"{key}={value}" for key, value in self.to_json().items())
