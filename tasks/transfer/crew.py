"""A crew of threads that carry transfers, and the groups in which what they bring is published."""

from __future__ import annotations

import contextlib
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from tasks.transfer.carrying import Carried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tasks.transfer.carrying import Arrival


#: A group is synced, renamed and recorded together: large enough to share the cost, small enough to lose little.
GROUP_FILES = 128
GROUP_BYTES = 256 << 20
#: What arrived waits so long for more, at most: a thread that wakes for each small file costs more than the file.
GROUP_SECONDS = 0.1
#: So many threads begin. Where files come fast, more would only fight for the interpreter, and a killed process loses
#: what each of them has under way.
FIRST_THREADS = 2
#: Another thread begins whenever nothing came for so long: then there is time to be won.
IDLE_SECONDS = 0.02


#: What is carried: transfers, some of them begun already.
Waiting = TypeVar("Waiting")


@dataclass(frozen=True, slots=True)
class _Bug:
    """An error that no carrier should let through; it is raised again in the thread that waits."""

    error: BaseException


class Crew(Generic[Waiting]):
    """Threads that carry transfers side by side, until there are none or the run is stopped.

    Args:
        carry: Carries one transfer; called by many threads.
        transfers: What is to be carried; read as threads become free.
        size: Threads, at the most.
        stop: Ends the work early; what was not begun is left.
        first: Threads to begin with.
    """

    def __init__(
        self,
        carry: Callable[[Waiting], Arrival],
        transfers: Iterable[Waiting],
        size: int,
        stop: threading.Event,
        first: int = FIRST_THREADS,
    ) -> None:
        self._carry = carry
        self._waiting = iter(transfers)
        self._stop = stop
        self._abandoned = threading.Event()
        self._lock = threading.Lock()
        self._arrivals: queue.SimpleQueue[Arrival | _Bug | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(GROUP_FILES + size)
        self._due = threading.Event()
        self._size = size
        self._begins_with = first
        self._threads: list[threading.Thread] = []

    def groups(self) -> Iterator[list[Arrival]]:
        """Yield what arrives, in groups: full ones, or what came within a moment."""
        try:
            yield from self._grouped()
        finally:
            self._dismiss()

    def _grouped(self) -> Iterator[list[Arrival]]:
        for _ in range(min(self._begins_with, self._size)):
            self._begin()
        ended = 0
        while ended < len(self._threads):
            arrived = self._together()
            group = [one for one in arrived if one is not None]
            ended += len(arrived) - len(group)
            if group:
                yield group
                self._room.release(len(group))

    def _together(self) -> list[Arrival | None]:
        """Wait for the first to arrive, then a moment for others; None stands for a thread that ended."""
        arrived = [self._first()]
        self._due.wait(GROUP_SECONDS)
        self._due.clear()
        while len(arrived) < GROUP_FILES and not self._arrivals.empty():
            arrived.append(self._arrivals.get())
        for one in arrived:
            if isinstance(one, _Bug):
                raise one.error
        return [one for one in arrived if not isinstance(one, _Bug)]

    def _first(self) -> Arrival | _Bug | None:
        while len(self._threads) < self._size:
            with contextlib.suppress(queue.Empty):
                return self._arrivals.get(timeout=IDLE_SECONDS)
            self._begin()
        return self._arrivals.get()

    def _begin(self) -> None:
        thread = threading.Thread(target=self._work, name=f"carry-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        try:
            while (transfer := self._next()) is not None:
                self._room.acquire()
                arrived = self._carry(transfer)
                self._arrivals.put(arrived)
                if _is_large(arrived) or self._arrivals.qsize() >= GROUP_FILES:
                    self._due.set()
            self._arrivals.put(None)
        except BaseException as error:  # noqa: BLE001  (raised again by `_together`, in the thread that waits)
            self._arrivals.put(_Bug(error))
        self._due.set()

    def _next(self) -> Waiting | None:
        if self._stop.is_set() or self._abandoned.is_set():
            return None
        with self._lock:
            return next(self._waiting, None)

    def _dismiss(self) -> None:
        """Let the threads end, and give back what they still bring: nobody will publish it."""
        self._abandoned.set()
        self._room.release(len(self._threads))
        while any(thread.is_alive() for thread in self._threads):
            self._give_back_one()
        while not self._arrivals.empty():
            self._give_back_one()

    def _give_back_one(self) -> None:
        try:
            arrived = self._arrivals.get(timeout=0.1)
        except queue.Empty:
            return
        if isinstance(arrived, Carried):
            arrived.partial.release()


def _is_large(arrived: Arrival) -> bool:
    """Whether a file is published at once: many of its kind would make a group of too many bytes."""
    return isinstance(arrived, Carried) and arrived.partial.size >= GROUP_BYTES // GROUP_FILES
