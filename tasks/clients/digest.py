"""The running digest of a file's bytes; a large file's is computed in a thread of its own, beside the wire.

md5 takes about as long as a fast line does. In one thread both times add up; in two, the longer one counts.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

#: Where a thread begins to pay: many smaller files keep all cores busy anyway.
LARGE_BYTES = 64 << 20
#: What is handed over at once, and how many of them may wait.
_PIECE_BYTES = 1 << 20
_MOST_WAITING = 8


class Digest:
    """A hash object that may lag behind what it was given; asking for the digest waits for it."""

    __slots__ = ("_beside", "_given", "_hasher")

    def __init__(self, hasher: _Hash) -> None:
        self._hasher = hasher
        self._given = 0
        self._beside: _Beside | None = None

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self._given += len(data)
        if self._given < LARGE_BYTES:
            self._hasher.update(data)
            return
        self._beside = self._beside or _Beside(self._hasher)
        self._beside.update(data)

    @property
    def lags(self) -> bool:
        """Whether it would make wait whoever gives it more."""
        return self._beside is not None and self._beside.lags()

    def hexdigest(self) -> str:
        """The digest of all bytes given so far."""
        if self._beside:
            self._beside.catch_up()
        return self._hasher.hexdigest()


class _Beside:
    """The thread that hashes, and what waits for it."""

    def __init__(self, hasher: _Hash) -> None:
        self._hasher = hasher
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="digest")
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._waiting: deque[Future[None]] = deque()

    def update(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _PIECE_BYTES:
            self._hand_over()

    def lags(self) -> bool:
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft().result()
        return len(self._waiting) >= _MOST_WAITING

    def catch_up(self) -> None:
        self._hand_over()
        while self._waiting:
            self._waiting.popleft().result()

    def _hand_over(self) -> None:
        if not self._held:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._hasher.update, b"".join(self._held)))
        self._held, self._held_bytes = [], 0
