"""What runs that died left beside the tree: files that prove need not be moved again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.clients.proof import Expected

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.clients.globus.batches import Item
    from tasks.clients.seams import Pace

_BLOCK = 1 << 20


def is_proven(item: Item, staged: Path, pace: Pace) -> bool:
    """Whether all bytes of a file lie there already. Without a digest nothing tells: Globus writes in place.

    Raises:
        DownloadError: `stopped`.
    """
    hasher = Expected(item.size, item.digest).hasher()
    if hasher is None:
        return False
    try:
        if item.size not in (None, staged.stat().st_size):
            return False
        with staged.open("rb") as file:
            while block := file.read(_BLOCK):
                pace.check()
                hasher.update(block)
    except OSError:
        return False
    return hasher.hexdigest() == item.digest
