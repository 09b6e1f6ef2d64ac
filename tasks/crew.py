"""A crew of threads that carry transfers, and the groups in which what they bring is published."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.carrying import Carried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tasks.carrying import Arrival
    from tasks.model import Transfer


#: A group is synced, renamed and recorded together: large enough to share the cost, small enough to lose little.
GROUP_FILES = 64
GROUP_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class _Bug:
    """An error that no carrier should let through; it is raised again in the thread that waits."""

    error: BaseException


class Crew:
    """Threads that carry transfers side by side, until there are none or the run is stopped.

    Args:
        carry: Carries one transfer; called by many threads.
        transfers: What is to be carried; read as threads become free.
        size: Threads.
        stop: Ends the work early; what was not begun is left.
    """

    def __init__(
        self, carry: Callable[[Transfer], Arrival], transfers: Iterable[Transfer], size: int, stop: threading.Event
    ) -> None:
        self._carry = carry
        self._waiting = iter(transfers)
        self._stop = stop
        self._abandoned = threading.Event()
        self._lock = threading.Lock()
        self._arrivals: queue.Queue[Arrival | _Bug | None] = queue.Queue(maxsize=GROUP_FILES)
        self._threads = [threading.Thread(target=self._work, name=f"carry-{n}", daemon=True) for n in range(size)]

    def groups(self) -> Iterator[list[Arrival]]:
        """Yield what arrives, in groups: what came while the last group was published. Nothing waits to fill one."""
        for thread in self._threads:
            thread.start()
        try:
            yield from self._grouped()
        finally:
            self._dismiss()

    def _grouped(self) -> Iterator[list[Arrival]]:
        group: list[Arrival] = []
        size, at_work = 0, len(self._threads)
        while at_work:
            arrived = self._arrivals.get()
            if isinstance(arrived, _Bug):
                raise arrived.error
            if arrived is None:
                at_work -= 1
            else:
                group.append(arrived)
                size += arrived.partial.size if isinstance(arrived, Carried) else 0
            if group and (self._arrivals.empty() or len(group) >= GROUP_FILES or size >= GROUP_BYTES):
                yield group
                group, size = [], 0
        if group:
            yield group

    def _work(self) -> None:
        try:
            while (transfer := self._next()) is not None:
                self._arrivals.put(self._carry(transfer))
            self._arrivals.put(None)
        except BaseException as error:  # noqa: BLE001  (raised again by `_grouped`, in the thread that waits)
            self._arrivals.put(_Bug(error))

    def _next(self) -> Transfer | None:
        if self._stop.is_set() or self._abandoned.is_set():
            return None
        with self._lock:
            return next(self._waiting, None)

    def _dismiss(self) -> None:
        """Let the threads end, and give back what they still bring: nobody will publish it."""
        self._abandoned.set()
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
