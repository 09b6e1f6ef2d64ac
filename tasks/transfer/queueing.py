"""What waits to be carried: small files first; over a long line large ones begin before all others."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from tasks.transfer.carrying import Begun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tasks.model import Transfer

#: Up to here a thread of its own costs more than it brings, though it would hash beside the others.
SMALL_BYTES = 2 << 20
#: How far ahead larger files are looked for over a long line.
_AHEAD_FILES = 5000


def size_left(one: Transfer | Begun) -> int:
    """Bytes that a transfer is about, 0 where nobody knows."""
    return (one.transfer if isinstance(one, Begun) else one).size or 0


class Queue:
    """Transfers of one batch: those to carry together, and those that are left for threads.

    Args:
        transfers: Read as there is room for more.

    Attributes:
        takes_larger: Whether larger files are carried together with the small ones.
    """

    def __init__(self, transfers: Iterable[Transfer]) -> None:
        self.takes_larger = False
        self._rest = iter(transfers)
        self._too_large: list[Transfer] = []
        self._left: list[Transfer | Begun] = []

    def next(self) -> Transfer | None:
        """Take the next one that may be carried together with others; None when there is no more."""
        for transfer in self._rest:
            if self.takes_larger or (transfer.size or 0) <= SMALL_BYTES:
                return transfer
            self._too_large.append(transfer)
        return None

    def take_larger(self) -> None:
        """Let larger files go along from now on, and before all others: one that began last would come alone."""
        self.takes_larger = True
        ahead = [*self._too_large, *islice(self._rest, _AHEAD_FILES)]
        self._too_large = []
        larger = [transfer for transfer in ahead if size_left(transfer) > SMALL_BYTES]
        others = [transfer for transfer in ahead if size_left(transfer) <= SMALL_BYTES]
        self._rest = chain(sorted(larger, key=size_left, reverse=True), others, self._rest)

    def leave(self, one: Transfer | Begun) -> None:
        """Leave one to be carried in a thread of its own."""
        self._left.append(one)

    @property
    def left(self) -> Iterator[Transfer | Begun]:
        """What is to be carried otherwise, once nothing comes together any more: large ones first, none is the tail."""
        return chain(sorted([*self._left, *self._too_large], key=size_left, reverse=True), self._rest)
