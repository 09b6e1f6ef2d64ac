"""What became of each file of a task: moved, skipped and why, or left.

Three witnesses: the files that the service moved, the paths that it stepped over, and the staging
directory. A file that was there already is told by the last one alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.clients.verdicts import DownloadError, error, globus_skipped

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tasks.clients.globus.batches import Batch, Destination, Item

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has ended, for the report.

    Attributes:
        files: Files that it brought.
        bytes: Bytes that it moved, those that were sent again too.
        rate: Bytes a second, as the service counts them.
    """

    task_id: str
    files: int
    bytes: int
    rate: int

    @property
    def link(self) -> str:
        """Where a person can look at it."""
        return f"https://app.globus.org/activity/{self.task_id}"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one file.

    Attributes:
        staged: Where its bytes lie, not proven yet; None after a failure, or when it is `there`.
        failure: Why there are none.
        there: Another run on the same root has given it its final name meanwhile.
        task: The task that brought it, if one did in this run.
        bytes: Bytes that Globus moved for it.
        attempts: Tasks that it travelled in.
    """

    item: Item
    staged: Path | None = None
    failure: DownloadError | None = None
    bytes: int = 0
    attempts: int = 1
    there: bool = False
    task: Ended | None = None


@dataclass(frozen=True, slots=True)
class Testimony:
    """What the service says of an ended task.

    Attributes:
        moved: Rows by destination path, which no two files share.
        skipped: The same.
        succeeded: Whether the task came to a good end, so that files in neither list were there already.
    """

    moved: dict[str, Json]
    skipped: dict[str, Json]
    succeeded: bool

    @classmethod
    def of(cls, moved: Iterable[Json], skipped: Iterable[Json], *, succeeded: bool) -> Testimony:
        """Sort the rows of the two lists; paths may be hidden from this identity, and then tell nothing."""
        return cls(_by_destination(moved), _by_destination(skipped), succeeded)

    @classmethod
    def of_all(cls, batch: Batch, destination: Destination) -> Testimony:
        """What a task says that has moved all of its files, and stepped over none."""
        return cls({destination.route(item).destination_path: {"size": item.size} for item in batch.items}, {}, True)


def _by_destination(rows: Iterable[Json]) -> dict[str, Json]:
    return {row["destination_path"]: row for row in rows if row.get("destination_path")}


def weigh(batch: Batch, destination: Destination, testimony: Testimony) -> tuple[list[Result], list[Item]]:
    """Results of the files whose fate is known, and the files that were left."""
    results: list[Result] = []
    left: list[Item] = []
    for item in batch.items:
        result = _result(item, batch, destination, testimony)
        if result:
            results.append(result)
        else:
            left.append(item)
    return results, left


def _result(item: Item, batch: Batch, destination: Destination, testimony: Testimony) -> Result | None:
    route, staged = destination.route(item), destination.staged(item)
    if row := testimony.skipped.get(route.destination_path):
        detail = f"{route.source_path}: {row.get('error_code')}."
        return Result(item, failure=globus_skipped(str(row.get("error_code")), detail), attempts=batch.attempts)
    if row := testimony.moved.get(route.destination_path):
        if staged.is_file():
            return Result(item, staged, bytes=int(row.get("size") or staged.stat().st_size), attempts=batch.attempts)
        if batch.resumed:  # the run that died has taken it away before it could publish it
            return None
        detail = f"{route.source_path} should be at {staged}, which the endpoint calls {route.destination_path}."
        return Result(item, failure=error("globus-invisible", detail), attempts=batch.attempts)
    if testimony.succeeded and staged.is_file() and item.size in (None, staged.stat().st_size):
        return Result(item, staged, attempts=batch.attempts)
    return None


def unseen(batch: Batch, destination: Destination, testimony: Testimony) -> bool:
    """Whether a file that was moved cannot be seen yet: network file systems show news late."""
    return any(
        destination.route(item).destination_path in testimony.moved and not destination.staged(item).is_file()
        for item in batch.items
    )
