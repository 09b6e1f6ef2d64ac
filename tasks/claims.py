"""No two datasets fight for one name: who may have the path that it claims. Pure.

A tree must be the same on every file system, so names that differ only in case or Unicode form are one name. Where two
datasets claim one, neither is the right one: both are left out, and what is proven on disk already stays.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING

from tasks.clients.paths import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tasks.model import Transfer

_HELD = "Dataset {}, whose file is proven on disk, has the same local path."
_FOLDER = "Other datasets need a folder of this name."


def refusals(
    claims: Sequence[str], present: Mapping[str, str], transfer: Callable[[int], Transfer]
) -> dict[int, tuple[Transfer, str]]:
    """Return which claims are refused, and why.

    Args:
        claims: Paths that are wanted.
        present: Paths of the files that are proven on disk, by dataset.
        transfer: Gives the transfer behind a claim; asked of rivals only.

    Returns:
        By index, the transfer and the reason; "" for a claim that only repeats another one of the same dataset.
    """
    if not claims:  # nothing to do is the most frequent plan, and must not cost a look at every path
        return {}
    groups: dict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(claims):
        groups[fold(path)].append(index)
    held = {name: dataset for dataset, path in present.items() if (name := fold(path)) in groups}
    folders = _folders(chain(groups, map(fold, present.values())))
    refused: dict[int, tuple[Transfer, str]] = {}
    for name, rivals in groups.items():
        if name in held or name in folders:
            reason = _HELD.format(held[name]) if name in held else _FOLDER
            refused |= {index: (transfer(index), reason) for index in rivals}
        elif len(rivals) > 1:
            refused |= _judge({index: transfer(index) for index in rivals})
    return refused


def _folders(paths: Iterable[str]) -> set[str]:
    """Return every folder that the paths need."""
    folders: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    return folders


def _judge(rivals: Mapping[int, Transfer]) -> dict[int, tuple[Transfer, str]]:
    """Refuse all rivals, or all but one where they are one and the same file."""
    ids = sorted({rival.dataset for rival in rivals.values()})
    if len({_content(rival) for rival in rivals.values()}) > 1:
        paths = sorted({rival.path for rival in rivals.values()})
        form = f" that differs only in case or Unicode form ({', '.join(paths)})" if len(paths) > 1 else ""
        reason = f"{len(ids)} datasets claim the same local path{form}: {', '.join(ids)}."
        return {index: (rival, reason) for index, rival in rivals.items()}
    ranked = sorted(rivals.items(), key=lambda item: item[1].dataset)
    first, *others = ranked
    reason = f"The same file as dataset {first[1].dataset}: same path, size and digest."
    return {index: (rival, reason if rival.dataset != first[1].dataset else "") for index, rival in others}


def _content(transfer: Transfer) -> tuple[str, int | None, str]:
    return transfer.path, transfer.size, transfer.digest or transfer.dataset
