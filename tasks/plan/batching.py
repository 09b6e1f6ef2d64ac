"""How the work of a plan is cut into batches, one for each task run. Pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: A batch is 10 to 60 seconds of work over a line: so many files, or so many bytes, or some of both. Beside a server
#: that many small files are a second's work; Prefect's task run costs 9 ms of this processor's time, and 60 ms of its
#: server's.
BATCH_FILES = 10_000
BATCH_BYTES = 5_000_000_000
#: Task runs of a flow run: beyond that, batches grow.
MOST_BATCHES = 200
#: Batches to run side by side, as long as each keeps this share of a full one.
SIDE_BY_SIDE = 4
SMALLEST_BATCH = 0.7


class Sized(Protocol):
    """What is cut into batches: something with a place in the tree, and a size."""

    @property
    def path(self) -> str:
        """Where it goes."""
        ...

    @property
    def size(self) -> int | None:
        """How many bytes it has, where that is known."""
        ...


Item = TypeVar("Item", bound=Sized)


def work(size: int | None, files: int = 1) -> float:
    """Return how much of a full batch a file of this size is, or files that have it together."""
    return files / BATCH_FILES + (size or 0) / BATCH_BYTES


def cut(items: Iterable[Item], total: float) -> Iterator[list[Item]]:
    """Cut files into batches of about equal work; neighbours in the tree stay together, large files go first.

    Args:
        items: In the order of the tree; one batch of them is held at a time.
        total: Their work.
    """
    count = min(MOST_BATCHES, max(1, round(total), min(SIDE_BY_SIDE, int(total / SMALLEST_BATCH))))
    done = 0.0

    def number(item: Item) -> int:
        """A file belongs to the share of the total work in which its own middle lies."""
        nonlocal done
        done += work(item.size)
        return int((done - work(item.size) / 2) / total * count)

    for _, batch in groupby(items, key=number):
        yield sorted(batch, key=lambda item: (-(item.size or 0), item.path))
