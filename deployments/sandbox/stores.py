"""The files of all servers, on disk: what is true of each record lies below one directory.

`http/` and `members/` are roots of file servers, `s3/<bucket>/` holds objects under their keys,
`globus/<repository>/` is the file system of one Globus endpoint.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.sandbox.model import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployments.sandbox.data import World
    from deployments.sandbox.model import Dataset, Record

#: All files are this old (1 July 2024), so that whatever a test writes later has another ETag.
_MTIME = 1_719_835_200


class Stores:
    """Puts files where their servers find them.

    Args:
        root: A directory that holds nothing else.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def fill(self, world: World) -> None:
        """Make the directory hold exactly the files of this world; those that nobody touched are left alone."""
        for repository in world.repositories.values():
            (self.root / repository.server / (repository.bucket or "")).mkdir(parents=True, exist_ok=True)
        held = {path: content for each in world.datasets.values() for path, content in self._files(world, each)}
        for path, content in held.items():
            if not _untouched(path, content):
                _write(path, content)
                os.utime(path, (_MTIME, _MTIME))
        for folder, _, names in os.walk(self.root):
            for path in {f"{folder}/{name}" for name in names} - held.keys():
                Path(path).unlink()

    def put(self, world: World, dataset: Dataset) -> None:
        """Write the files of one dataset now."""
        for path, content in self._files(world, dataset):
            _write(path, content)

    def _files(self, world: World, dataset: Dataset) -> Iterator[tuple[str, bytes]]:
        for record in dataset.records:
            if record.held:
                true = dataset.stale if record.state is State.STALE else dataset.content
                yield self._path(world, dataset, record), true

    def path(self, world: World, dataset: Dataset, record: Record) -> Path:
        """Return where one record's file lies."""
        return Path(self._path(world, dataset, record))

    def _path(self, world: World, dataset: Dataset, record: Record) -> str:
        return f"{self.root}/{world.repositories[record.repository].place(dataset, record.relative_path)}"


def _untouched(path: str, content: bytes) -> bool:
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return False
    return (stat.st_mtime, stat.st_size) == (_MTIME, len(content))


def _write(name: str, content: bytes) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
