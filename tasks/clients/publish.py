"""Publish: verify, make durable, rename to the final name. One function, called by all.

Durability is grouped: the proven partials of a group are synced together, then renamed, then recorded by
the caller; so neither a name nor a row claims what a power cut can take back.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from tasks.clients.verdicts import DownloadError, error, os_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.clients.partial import Partial
    from tasks.clients.tree import Tree


class Published(NamedTuple):
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
    results: dict[int, Published | DownloadError] = {}
    folders: dict[str, list[int]] = defaultdict(list)
    for number, failure in enumerate([_sync(partial, relative) for partial, relative in proven]):
        if failure:
            results[number] = failure
        else:
            folders[proven[number][1].rpartition("/")[0]].append(number)
    for folder, members in folders.items():
        named = _rename_all(tree, folder, [proven[number] for number in members])
        results.update(zip(members, named, strict=True))
    for number, (partial, _) in enumerate(proven):
        if isinstance(results[number], DownloadError):
            partial.release()
    return [results[number] for number in range(len(proven))]


def _sync(partial: Partial, relative: str) -> DownloadError | None:
    """Prove once more what is about to be named, then make its bytes durable."""
    try:
        partial.prove(relative.rpartition("/")[2])
        partial.disk.fsync(partial.fd)
    except DownloadError as unproven:
        return unproven
    except OSError as failure:
        return os_error(failure, partial.path)
    return None


def _rename_all(tree: Tree, folder: str, group: Sequence[tuple[Partial, str]]) -> list[Published | DownloadError]:
    """Give names in one folder: it is walked to once, and synced once when all names are given."""
    try:
        with tree.directory(PurePosixPath(folder)) as fd:
            results = [_rename(tree, fd, partial, relative) for partial, relative in group]
            tree.disk.fsync(fd)
    except DownloadError as refused:
        return [refused] * len(group)
    except OSError as failure:
        return [os_error(failure, tree.root / folder)] * len(group)
    return results


def _rename(tree: Tree, fd: int, partial: Partial, relative: str) -> Published | DownloadError:
    name = relative.rpartition("/")[2]
    try:
        _refuse_what_is_no_file(tree, fd, name, relative)
        mtime_ns = os.fstat(partial.fd).st_mtime_ns
        tree.disk.rename(partial.name, partial.folder.fd, name, fd)
    except DownloadError as refused:
        return refused
    except OSError as failure:
        return os_error(failure, tree.root / relative)
    partial.close()
    return Published(relative, partial.size, partial.expected.verified, mtime_ns)


def _refuse_what_is_no_file(tree: Tree, fd: int, name: str, relative: str) -> None:
    """A directory, a symlink or a device at the final name is somebody's: it is not ours to replace."""
    if not os.access(name, os.F_OK, dir_fd=fd, follow_symlinks=False):  # a stat of nothing costs three times as much
        return
    try:
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise error("target", f"{tree.root}/{relative} is {what}.")
