"""What the disk says: the stat of files under a root, and the room that is left."""

from __future__ import annotations

import os
import shutil
import stat
from itertools import groupby
from typing import TYPE_CHECKING

from tasks.model import Stat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: A folder only to look names up in; O_PATH asks for no permission to list it.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)


def look(root: Path, paths: Sequence[str]) -> list[Stat | None]:
    """Return what stands at each path under the root; None where no regular file can be seen.

    What cannot be seen counts as not there: publish, which then meets the same fault, says what it is.
    """
    by_folder = groupby(paths, key=lambda path: path.rpartition("/")[0])
    return [found for folder, members in by_folder for found in _look_in(f"{root}/{folder}", members)]


def free_bytes(root: Path) -> int:
    """Return the free bytes of the file system that holds the root, or will hold it once it is made."""
    there = next(place for place in (root, *root.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def _look_in(folder: str, paths: Iterator[str]) -> Iterator[Stat | None]:
    # Names relative to an open folder spare the kernel the walk along the path, a third of the time of a stat.
    if os.stat not in os.supports_dir_fd:
        yield from (_stat(f"{folder}/{path.rpartition('/')[2]}") for path in paths)
        return
    try:
        handle = os.open(folder, _FOLDER)
    except OSError:
        yield from (None for _ in paths)
        return
    try:
        yield from [_stat(path.rpartition("/")[2], handle) for path in paths]
    finally:
        os.close(handle)


def _stat(place: str, folder: int | None = None) -> Stat | None:
    try:
        found = os.stat(place, dir_fd=folder)
    except OSError:
        return None
    return Stat(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
