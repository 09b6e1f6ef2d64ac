"""No two datasets fight for one name: who may have the path that it claims. Pure.

A tree must be the same on every file system, so names that differ only in case or Unicode form are one name. Where two
datasets claim one, neither is the right one: both are left out, and what is proven on disk already stays.
"""

from __future__ import annotations

from heapq import nsmallest
from itertools import chain, groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from tasks.clients.paths import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tasks.model import Transfer
    from tasks.plan.entries import Entry

    #: Gives the transfer behind an entry; asked of rivals only.
    Read = Callable[[Entry], Transfer]


class Held(Protocol):
    """The files that are proven on disk; these stay."""

    def owner(self, key: bytes) -> str | None:
        """Return the dataset whose file has a name, if there is one."""
        ...

    def has_folder(self, low: bytes, high: bytes) -> bool:
        """Whether there is a file in a folder whose key is at least the one, and less than the other."""
        ...


_HELD = "Dataset {}, whose file is proven on disk, has the same local path."
_FOLDER = "Other datasets need a folder of this name."
_BELOW, _BEHIND = b"\0", b"\1"
#: What of rivals' ids is shown in a reason.
_SHOWN = 5


def name_key(path: str) -> bytes:
    """Return the name that a safe path claims; sorted, what is below a folder follows right behind it."""
    return fold(path).encode().replace(b"/", _BELOW)


def judged(claims: Iterable[Entry], held: Held, read: Read) -> Iterator[tuple[Entry, str | None]]:
    """Yield each claim, and why it is left out; None for one that stays.

    Args:
        claims: What is wanted, sorted by :func:`name_key`.
        held: The files that are proven on disk.
        read: Gives the transfer behind a claim.

    Returns:
        The reason is "" for a claim that only repeats another one of the same dataset.
    """
    groups = (list(group) for _, group in groupby(claims, key=attrgetter("key")))
    for group, following in pairwise(chain(groups, ([],))):
        if reason := _taken(group[0].key, following, held):
            yield from ((entry, reason) for entry in group)
        elif len(group) == 1:
            yield group[0], None
        else:
            yield from _rivals(group, read)


def _taken(key: bytes, following: Sequence[Entry], held: Held) -> str:
    """Say what has the name already: a file on disk, or a folder that others need."""
    if owner := held.owner(key):
        return _HELD.format(owner)
    is_wanted = following and following[0].key.startswith(key + _BELOW)
    return _FOLDER if is_wanted or held.has_folder(key, key + _BEHIND) else ""


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
