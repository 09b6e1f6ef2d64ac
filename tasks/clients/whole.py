"""Partials that are whole from the beginning: bodies that came at once and are proven before they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.clients.owners import owner
from tasks.clients.partial import SUFFIX, Partial
from tasks.clients.partials import identity
from tasks.clients.proof import HEAD_BYTES
from tasks.clients.verdicts import os_error

if TYPE_CHECKING:
    from tasks.clients.partials import Partials
    from tasks.clients.proof import Expected


def whole_partial(partials: Partials, expected: Expected, body: bytes) -> Partial | None:
    """Make a partial of all bytes of a file; None, and nothing on disk, where they are not the registered ones.

    Raises:
        DownloadError: as :meth:`Partials.claim` does.
    """
    digest = expected.hasher()
    if digest is None or len(body) != expected.size:
        return None
    digest.update(body)
    if digest.hexdigest() != expected.digest:
        return None
    name = f"{identity(expected, '')}.{owner()}.{SUFFIX}"
    try:
        fd = partials.folder.create(name)
    except OSError as failure:
        raise os_error(failure, partials.directory) from failure
    partial = Partial(partials.folder, name, expected, partials.disk, fd, len(body), body[:HEAD_BYTES], _hash=digest)
    try:
        partials.disk.write(fd, body)
    except OSError as failure:
        partial.discard()
        raise os_error(failure, partials.directory, missing=len(body)) from failure
    return partial


def waiting(partials: Partials) -> set[str]:
    """Identities of all partials that lie there, which :meth:`Partials.claim` may continue."""
    return {name.partition(".")[0] for name in partials.folder.names()}


def is_proven(partial: Partial) -> bool:
    """Whether a partial holds the registered bytes, by their digest."""
    expected = partial.expected
    return partial.size == expected.size and partial.digest == expected.digest != ""
