"""The frozen plan, and how it lies on disk: a header line, a line a transfer in batch order, then skips and presents.

The presents of a folder share a line. A batch is a run of lines, so a task run that gets the file's path and a number
reads its own lines only.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tasks.clients.tree import OURS, Tree
from tasks.clients.verdicts import error, os_error
from tasks.model import Skip, Transfer
from tasks.plan.present import members
from tasks.plan.spool import line, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.model import Json

    #: Reads (offset, length) of the lines.
    Read = Callable[[int, int], bytes]

FORMAT = 3
_HALF = ".half"
_COPY = 1 << 20


@dataclass(frozen=True, slots=True)
class Total:
    """Files and their bytes; `unknown` of the files have no registered size."""

    files: int = 0
    bytes: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """What one protocol of one repository is asked for first."""

    protocol: str
    repository: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Lines:
    """A run of lines: where it lies, the files and bytes that it stands for, their labs, their first and last day."""

    offset: int
    length: int
    files: int
    bytes: int = 0
    labs: str = ""
    since: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes that are free, that must stay free, and that the plan adds."""

    free: int
    reserve: int
    adds: int = 0

    @property
    def needed(self) -> int:
        """Bytes that must be free for the plan to fit."""
        return self.adds + self.reserve

    @property
    def fits(self) -> bool:
        """Whether the plan fits."""
        return self.needed <= self.free


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do, decided. The dry run prints it; a run consumes that very object.

    Attributes:
        id: Names the content: the same plan has the same id.
        root: Where the files go.
        catalogue: Which catalogue named the datasets.
        fetch: To be fetched.
        check: On disk but not known to be proven: verified and adopted, and fetched only if that fails.
        present: Proven on disk, nothing to do.
        skipped: Left out, each with a reason.
        shares: What each source is asked for first, largest share first.
        space: Room on disk.
        batches: The transfers, a task run each.
        skip_lines: The skips.
        present_lines: The present ones.
    """

    id: str
    root: str
    catalogue: str
    fetch: Total
    check: Total
    present: Total
    skipped: int
    shares: tuple[Share, ...]
    space: Space
    batches: tuple[Lines, ...]
    skip_lines: tuple[Lines, ...]
    present_lines: tuple[Lines, ...]
    read: Read = field(compare=False, repr=False)

    def transfers(self, batch: int) -> list[Transfer]:
        """Return one batch's transfers, large files first.

        Raises:
            OSError, ValueError: The file that the plan was loaded from is gone or spoilt; see `read_batch`.
        """
        return [Transfer.from_row(row) for row in self._rows(self.batches[batch])]

    def skips(self) -> Iterator[Skip]:
        """Yield what is left out, and why."""
        return (Skip(**row) for lines in self.skip_lines for row in self._rows(lines))

    def present_files(self) -> Iterator[tuple[str, str]]:
        """Yield the files that are present: dataset and path."""
        for lines in self.present_lines:
            for row in self._rows(lines):
                yield from members(row)

    def to_json(self) -> Json:
        """Return the header: everything but the lines."""
        header = {"plan": FORMAT, "id": self.id, "root": self.root, "catalogue": self.catalogue}
        parts = ("fetch", "check", "present", "space")
        tuples = ("shares", "batches", "skip_lines", "present_lines")
        return (
            header
            | {name: asdict(getattr(self, name)) for name in parts}
            | {"skipped": self.skipped}
            | {name: [asdict(row) for row in getattr(self, name)] for name in tuples}
        )

    def save(self) -> Path:
        """Write the plan under its root, whole or not at all, and return its path.

        Raises:
            DownloadError: `disk-full`, `read-only` or `local-io`; no half plan stays.
        """
        Tree(Path(self.root)).prepare()
        path = plans(Path(self.root)) / f"{self.id}.jsonl"
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._write(path)
        except OSError as failure:
            raise os_error(failure, path) from failure
        return path

    def _write(self, path: Path) -> None:
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=_HALF, delete=False) as file:
            try:
                file.writelines(self._all())
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            finally:
                Path(file.name).unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a plan's header; its lines are read when they are asked for.

        Raises:
            DownloadError: `bad-plan`: no such file, or not one that this version wrote.
        """
        with _intact(path), path.open("rb") as file:
            header = file.readline()
            return cls._from_header(json.loads(header), partial(_read, path, len(header)))

    @classmethod
    def _from_header(cls, header: Json, read: Read) -> Self:
        if header.pop("plan") != FORMAT:
            raise ValueError("another version wrote it")
        for name, kind in _PARTS.items():
            value: Any = header[name]
            header[name] = tuple(kind(**row) for row in value) if isinstance(value, list) else kind(**value)
        return cls(**header, read=read)

    def _rows(self, lines: Lines) -> Iterator[Any]:
        return map(parsed, self.read(lines.offset, lines.length).splitlines())

    def _all(self) -> Iterator[bytes]:
        """Yield the whole file, a bounded piece at a time."""
        yield line(self.to_json())
        size = sum(part.length for part in (*self.batches, *self.skip_lines, *self.present_lines))
        for offset in range(0, size, _COPY):
            yield self.read(offset, min(_COPY, size - offset))


_PARTS: dict[str, type[Any]] = {
    "fetch": Total, "check": Total, "present": Total, "space": Space,
    "shares": Share, "batches": Lines, "skip_lines": Lines, "present_lines": Lines,
}  # fmt: skip


def plans(root: Path) -> Path:
    """Return the folder of a root's plans."""
    return root / OURS / "plans"


def read_batch(path: Path, batch: int) -> list[Transfer]:
    """Return the transfers of one batch of a saved plan; reads the header and the batch's own lines.

    Raises:
        DownloadError: `bad-plan`.
    """
    plan = Plan.load(path)
    with _intact(f"{path}, batch {batch}"):
        return plan.transfers(batch)


def prune_plans(folder: Path, *, before: float) -> int:
    """Delete plans, and what is left of half written ones, last written before a time; return how many."""
    pruned = 0
    for path in (*folder.glob("*.jsonl"), *folder.glob(f"*{_HALF}")):
        with suppress(OSError):  # another run prunes too, or nothing can be removed here
            if path.stat().st_mtime < before:
                path.unlink()
                pruned += 1
    return pruned


@contextmanager
def _intact(what: object) -> Iterator[None]:
    """Turn whatever a missing, foreign or spoilt file raises into one error."""
    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, IndexError) as fault:
        raise error("bad-plan", f"{what}: {fault}.") from fault


def _read(path: Path, start: int, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start + offset)
        found = file.read(length)
    if len(found) < length:
        raise ValueError("it is cut short")
    return found
