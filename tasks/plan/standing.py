"""How a dataset's file stands on disk, which says what is to be done. Pure."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.model import Stat

    #: Size, digest and time of change that a file was proven with: a `Proof`, or its values.
    Proven = tuple[int, str, int]


class Standing(Enum):
    """How a dataset's file stands on disk."""

    PRESENT = auto()  # proven, unchanged since: nothing to do
    CHECK = auto()  # may be the registered bytes: verify and adopt, fetch only if that fails
    FETCH = auto()  # not there, or certainly other bytes


def standing(size: int | None, digest: str, proof: Proven | None, found: Stat | None) -> Standing:
    """Say how a file stands, from what is registered, what is proven, and what lies there."""
    if found is None or size not in (None, found[0]):
        return Standing.FETCH
    if proof and (proof[0], proof[2]) == found:
        if digest in ("", proof[1]):
            return Standing.PRESENT
        if len(digest) == len(proof[1]):
            return Standing.FETCH
    return Standing.FETCH if size is None and not digest else Standing.CHECK
