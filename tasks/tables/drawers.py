"""Rows of a large table put aside on disk, so that those that belong together are read together, whatever their order.

Each row belongs to a place, 0 to some number; neighbouring places share a drawer, which fits into memory.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tasks.clients.verdicts import os_error

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The column that says to which place a row belongs.
PLACE = "place"


class Drawers:
    """Files of rows in a temporary folder, one a drawer.

    Attributes:
        width: How many places share a drawer.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self._folder = folder
        self.width = width

    def put(self, rows: pa.RecordBatch) -> None:
        """Put rows away by their column `PLACE`.

        Raises:
            DownloadError: `disk-full` and the like, for the folder of temporary files.
        """
        drawer = pc.divide(rows[PLACE], self.width)
        order = pc.sort_indices(drawer)
        rows, start = rows.take(order), 0
        for counted in pc.value_counts(drawer.take(order)).to_pylist():
            with _told(), self._file(counted["values"]).open("ab") as file:
                file.write(rows.slice(start, counted["counts"]).serialize())
            start += counted["counts"]

    def read(self, places: int, schema: pa.Schema) -> Iterator[tuple[int, pa.Table]]:
        """Yield each drawer that holds anything: its first place, and its rows."""
        for number in range(-(-places // self.width)):
            file = self._file(number)
            if file.exists():
                yield number * self.width, pa.Table.from_batches(_batches(file, schema))

    def _file(self, number: int) -> Path:
        return self._folder / str(number)


@contextmanager
def drawers(width: int) -> Iterator[Drawers]:
    """Make drawers that are gone at the end of the `with` block.

    Raises:
        DownloadError: `disk-full` and the like, for the folder of temporary files.
    """
    with _told():
        folder = tempfile.TemporaryDirectory(prefix="prefect-alyx-")
    with folder as name:
        yield Drawers(Path(name), width)


def _batches(file: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """What was put into one drawer, one piece after another."""
    with pa.OSFile(str(file)) as stream:
        while stream.tell() < stream.size():
            yield pa.ipc.read_record_batch(stream, schema)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise os_error(failure, tempfile.gettempdir()) from failure
