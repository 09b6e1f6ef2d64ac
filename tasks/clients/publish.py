"""Publish: verify, make durable, rename to the final name. One function, called by all.

Durability is grouped: the proven partials of a group are synced together, then renamed, then recorded by
the caller; so neither a name nor a row claims what a power cut can take back.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tasks.clients.verdicts import DownloadError, error, os_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tasks.clients.partials import Partial
    from tasks.clients.tree import Tree


@dataclass(frozen=True, slots=True)
class Published:
    """A file that wears its final name.

    Attributes:
        relative: Path below the root.
        verified: "md5", "sha1" or "size".
        mtime_ns: What `stat` says of it now, for the ledger to recognise it by.
    """

    relative: str
    size: int
    verified: str
    mtime_ns: int


def publish(tree: Tree, proven: Sequence[tuple[Partial, str]]) -> list[Published | DownloadError]:
    """Give partials their final names, as one group.

    Args:
        tree: The root that the names lie under.
        proven: Each partial with its final path, relative to the root.

    Returns:
        One result a partial, in order. After an error the partial is back among the free ones, and what
        stood at the final name still stands there.
    """
    results: list[Published | DownloadError] = []
    directories: set[PurePosixPath] = set()
    for (partial, relative), failure in zip(proven, [_sync(p, name) for p, name in proven], strict=True):
        result = failure or _rename(tree, partial, relative)
        if isinstance(result, Published):
            directories.add(PurePosixPath(relative).parent)
        else:
            partial.release()
        results.append(result)
    _sync_directories(tree, directories)
    return results


def _sync(partial: Partial, relative: str) -> DownloadError | None:
    """Prove once more what is about to be named, then make its bytes durable."""
    try:
        partial.prove(PurePosixPath(relative).name)
        partial.disk.fsync(partial.fd)
    except DownloadError as unproven:
        return unproven
    except OSError as failure:
        return os_error(failure, partial.path)
    return None


def _rename(tree: Tree, partial: Partial, relative: str) -> Published | DownloadError:
    path = PurePosixPath(relative)
    try:
        with tree.directory(path.parent) as fd:
            _refuse_what_is_no_file(path.name, fd, tree.root / relative)
            mtime_ns = os.fstat(partial.fd).st_mtime_ns
            tree.disk.rename(partial.path, path.name, fd)
    except DownloadError as refused:
        return refused
    except OSError as failure:
        return os_error(failure, tree.root / relative)
    partial.close()
    return Published(relative, partial.size, partial.expected.verified, mtime_ns)


def _refuse_what_is_no_file(name: str, fd: int, path: object) -> None:
    """A directory, a symlink or a device at the final name is somebody's: it is not ours to replace."""
    try:
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise error("target", f"{path} is {'a directory' if stat.S_ISDIR(mode) else 'no regular file'}.")


def _sync_directories(tree: Tree, directories: Iterable[PurePosixPath]) -> None:
    for directory in directories:
        with tree.directory(directory, create=False) as fd:
            tree.disk.fsync(fd)
