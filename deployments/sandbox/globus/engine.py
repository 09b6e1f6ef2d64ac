"""The engine: one thread that works on at most three tasks at a time and ends those that are late."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from deployments.sandbox.globus.tasks import Fate, Task

if TYPE_CHECKING:
    from deployments.sandbox.globus.clock import Clock
    from deployments.sandbox.globus.pace import Pace
    from deployments.sandbox.globus.table import TaskTable
    from deployments.sandbox.globus.worker import Worker

RUNNING_AT_ONCE = 3
#: Seconds of work between two openings for requests.
STRIDE = 0.01
BREATH = 0.0005


class Engine:
    """Works as long as there is something to do, then waits to be told or for time to pass.

    Attributes:
        changed: Guards all state of the emulator; notified when there may be something to do, or nothing more.
    """

    def __init__(self, table: TaskTable, worker: Worker, pace: Pace, clock: Clock) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._table = table
        self._worker = worker
        self._pace = pace
        self._clock = clock
        self._stopping = False
        self._idle = False
        self._thread = threading.Thread(target=self._run, name="globus-engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the subtask at hand, write everything down, and end."""
        with self.changed:
            self._stopping = True
            self.changed.notify_all()
        self._thread.join()

    def kick(self) -> None:
        """Look again: something has changed."""
        with self.changed:
            self._idle = False
            self.changed.notify_all()

    def settle(self) -> None:
        """Return when nothing is left to do until time passes or something changes."""
        with self.changed:
            self.kick()
            self.changed.wait_for(lambda: self._idle or self._stopping)

    def _run(self) -> None:
        while not self._stopping:
            with self.changed:
                if not self._stride():
                    self._rest()
            # A lock is not fair: without a breath here, requests would wait for the whole task.
            time.sleep(BREATH)

    def _stride(self) -> bool:
        """Work for a moment; False when there was nothing to do."""
        until = time.monotonic() + STRIDE
        worked = False
        while self._turn():
            worked = True
            if time.monotonic() > until:
                break
        self._table.commit()
        return worked

    def _turn(self) -> bool:
        """One step of each task that may run; False when none could be done."""
        now = self._clock.now()
        for task in self._table.active():
            if now > task.deadline:
                self._worker.end(task, Fate.EXPIRED, "EXPIRED", now)
        running = self._running(now)
        if running:
            self._pace.refill(now)
        else:
            self._pace.rest()
        return sum(self._worker.advance(task, now) for task in running) > 0

    def _running(self, now: float) -> list[Task]:
        """The first tasks that can work; those that back off, pause or are inactive leave their place to others."""
        able = (task for task in self._table.active() if task.ready(now))
        return [task for task, _ in zip(able, range(RUNNING_AT_ONCE), strict=False)]

    def _rest(self) -> None:
        self._idle = True
        self.changed.notify_all()
        self.changed.wait(self._patience())

    def _patience(self) -> float | None:
        """Seconds until the clock alone gives something to do."""
        active = self._table.active()
        if not self._clock.runs or not active:
            return None
        if self._pace.bytes_per_second is not None:
            return 0.05
        now = self._clock.now()
        moments = [moment for task in active for moment in (task.deadline, *task.retry_moments) if moment > now]
        return min(moments, default=now + 1) - now
