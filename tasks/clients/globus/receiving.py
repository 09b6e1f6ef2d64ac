"""Where files are received, and how they are proven and published from there."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tasks.clients.globus.journal import Journal
from tasks.clients.publish import publish
from tasks.clients.tree import OURS
from tasks.clients.verdicts import DownloadError

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.clients.globus.outcomes import Result
    from tasks.clients.partial import Partial
    from tasks.clients.partials import Partials
    from tasks.clients.proof import Expected
    from tasks.clients.seams import Pace
    from tasks.clients.tree import Tree


def staging(tree: Tree) -> Path:
    """Where files are received, and submissions are written down."""
    return tree.root / OURS / "globus"


def adopt(result: Result, partials: Partials, expected: Expected, name: str) -> Partial:
    """Make a proven partial of a staged file, to be published like all others; bytes that are wrong are gone then.

    Raises:
        DownloadError: why the file was not moved, what is wrong with its bytes, or the file system's.
    """
    if result.failure or result.staged is None:
        raise result.failure or AssertionError
    partial = partials.adopt(result.staged, expected, result.item.address)
    try:
        partial.prove(name)
    except DownloadError:
        partial.discard()
        raise
    return partial


def published(tree: Tree, partials: Partials, result: Result, expected: Expected) -> Path:
    """Give a file its final name, which is the item's key.

    Raises:
        DownloadError: as :func:`adopt`, or why it cannot have the name.
    """
    path = result.item.key
    (outcome,) = publish(tree, [(adopt(result, partials, expected, path), path)])
    if isinstance(outcome, DownloadError):
        raise outcome
    return tree.root / path


def prune(tree: Tree, retention_seconds: float, pace: Pace) -> None:
    """Remove what Globus brought for runs that died, when nobody went on with it for so long."""
    Journal(staging(tree)).prune(lambda found: pace.now() - found.st_mtime > retention_seconds)


def tidy(tree: Tree) -> None:
    """Remove what a single download has made for itself, where it is empty."""
    with contextlib.suppress(OSError):
        staging(tree).rmdir()
    tree.tidy()
