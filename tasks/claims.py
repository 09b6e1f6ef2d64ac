"""No two datasets fight for one name: who may have the path that it claims. Pure.

A tree must be the same on every file system, so names that differ only in case or Unicode form are one name. Where two
datasets claim one, neither is the right one: both are left out, and what is proven on disk already stays.
"""

from __future__ import annotations

from heapq import nsmallest
from itertools import chain, groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING

from tasks.clients.paths import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tasks.entries import Entry
    from tasks.model import Transfer

    #: Gives the transfer behind an entry; asked of rivals only.
    Read = Callable[[Entry], Transfer]

_HELD = "Dataset {}, whose file is proven on disk, has the same local path."
_FOLDER = "Other datasets need a folder of this name."
_BELOW = b"\0"
#: What of rivals' ids is shown in a reason.
_SHOWN = 5


def name_key(path: str) -> bytes:
    """Return the name that a safe path claims; sorted, what is below a folder follows right behind it."""
    return fold(path).encode().replace(b"/", _BELOW)


def judged(entries: Iterable[Entry], present: int, read: Read) -> Iterator[tuple[Entry, str | None]]:
    """Yield each entry, and why it is left out; None for one that stays.

    Args:
        entries: What is wanted or present, sorted by :func:`name_key`.
        present: The standing of those whose file is proven on disk; they stay.
        read: Gives the transfer behind an entry.

    Returns:
        The reason is "" for an entry that only repeats another one of the same dataset.
    """
    groups = (list(group) for _, group in groupby(entries, key=attrgetter("key")))
    for group, following in pairwise(chain(groups, ([],))):
        is_folder = bool(following) and following[0].key.startswith(group[0].key + _BELOW)
        if len(group) == 1 and not is_folder:
            yield group[0], None
            continue
        held = [entry for entry in group if entry.standing == present]
        claims = [entry for entry in group if entry.standing != present]
        yield from _each_once(held, read)
        if held or is_folder:
            reason = _HELD.format(read(held[0]).dataset) if held else _FOLDER
            yield from ((entry, reason) for entry in claims)
        else:
            yield from _rivals(claims, read)


def _each_once(held: Sequence[Entry], read: Read) -> Iterator[tuple[Entry, str | None]]:
    """Several datasets may be proven by one file; one that is named twice is present once."""
    before = None
    for dataset, entry in sorted((read(entry).dataset, entry) for entry in held):
        yield entry, "" if dataset == before else None
        before = dataset


def _rivals(claims: Sequence[Entry], read: Read) -> Iterator[tuple[Entry, str | None]]:
    """Leave out all rivals, or all but one where they are one and the same file."""
    if len({_content(read(entry)) for entry in claims}) > 1:
        reason = _differ(claims, read)
        yield from ((entry, reason) for entry in claims)
        return
    first, *others = sorted(claims, key=lambda entry: read(entry).dataset)
    dataset = read(first).dataset
    reason = f"The same file as dataset {dataset}: same path, size and digest."
    yield first, None
    yield from ((entry, reason if read(entry).dataset != dataset else "") for entry in others)


def _differ(claims: Sequence[Entry], read: Read) -> str:
    ids = {read(entry).dataset for entry in claims}
    paths = {read(entry).path for entry in claims}
    form = f" that differs only in case or Unicode form ({_some(paths)})" if len(paths) > 1 else ""
    return f"{len(ids):,} datasets claim the same local path{form}: {_some(ids)}."


def _some(texts: set[str]) -> str:
    more = f" and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else ""
    return ", ".join(nsmallest(_SHOWN, texts)) + more


def _content(transfer: Transfer) -> tuple[str, int | None, str]:
    return transfer.path, transfer.size, transfer.digest or transfer.dataset
