"""What one step of work does to a task: begin, go on, skip, try again later, succeed, fail."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from deployments.sandbox.globus.table import DAY
from deployments.sandbox.globus.tasks import Fate, Kind, Subtask, Task
from deployments.sandbox.globus.trouble import StalledError, TroubleError, unreachable

if TYPE_CHECKING:
    from deployments.sandbox.globus.mover import Mover
    from deployments.sandbox.globus.pace import Pace
    from deployments.sandbox.globus.table import TaskTable


class Worker:
    """Takes tasks forward, one subtask at a time.

    Attributes:
        retry_seconds: How long a failed path, or a task whose collection is away, waits for its next try.
    """

    def __init__(self, table: TaskTable, mover: Mover, pace: Pace) -> None:
        self.retry_seconds = 60.0
        self._table = table
        self._mover = mover
        self._pace = pace

    def advance(self, task: Task, now: float) -> bool:
        """Do one subtask, or a piece of it; False when nothing could be done."""
        if task.nice == "Queued":
            self._begin(task, now)
        subtask = task.next(now)
        if subtask is None or (subtask.kind == Kind.COPY and self._pace.holds):
            return False
        try:
            self._reach(task)
            return self._work(task, subtask, now)
        except StalledError:
            subtask.retry_at = math.inf
        except TroubleError as trouble:
            self._meet(task, subtask, trouble, now)
        return True

    def end(self, task: Task, fate: Fate, code: str, now: float, *, details: str = "") -> None:
        """End a task badly; what was not done gets the fate."""
        left = task.settle_open(fate)
        description = code.lower()
        task.status, task.completed = "FAILED", now
        task.fatal = task.fatal or {"code": code, "description": description}
        self._table.event(task, code, description, details or description, now=now, is_error=True)
        self._table.save(task, left)

    def _begin(self, task: Task, now: float) -> None:
        task.nice = task.nice_text = "OK"
        details = {"type": "GridFTP Transfer", "concurrency": 2, "parallelism": 4, "pipelining": 20}
        self._table.event(task, "STARTED", "started", json.dumps(details, indent=2), now=now, is_error=False)
        self._table.save(task)

    def _reach(self, task: Task) -> None:
        for endpoint in self._mover.sides(task):
            if trouble := unreachable(endpoint):
                raise trouble

    def _work(self, task: Task, subtask: Subtask, now: float) -> bool:
        found: list[Subtask] = []
        if subtask.kind == Kind.SCAN:
            found = self._mover.scan(task, subtask)
        elif subtask.kind == Kind.MKDIR:
            self._mover.mkdir(task, subtask)
        else:
            before = task.bytes_moved
            if not self._mover.copy(task, subtask):
                return task.bytes_moved > before
            self._pace.finish_file()
        task.settle(subtask, Fate.SUCCEEDED)
        task.add(found)
        self._progress(task, [subtask, *found], now)
        return True

    def _progress(self, task: Task, subtasks: list[Subtask], now: float) -> None:
        """Something is done: the task is well again, its deadline moves, and it may have come to its end."""
        if not task.count(fate=Fate.RETRYING):
            task.nice, task.nice_text, task.nice_details = "OK", "OK", None
        if not task.deadline_fixed:
            task.deadline = max(task.deadline, now + 3 * DAY)
        if subtasks[0].kind == Kind.SCAN and not task.count(kind=Kind.SCAN, fate=Fate.PENDING):
            scanned = f"Scanned {task.count(kind=Kind.COPY)} file(s)"
            self._table.event(task, "SUCCEEDED", "succeeded", scanned, now=now, is_error=False)
        if not task.unfinished:
            task.status, task.completed = "SUCCEEDED", now
            details = json.dumps({"files_succeeded": task.count(kind=Kind.COPY, fate=Fate.SUCCEEDED)})
            self._table.event(task, "SUCCEEDED", "succeeded", details, now=now, is_error=False)
        self._table.save(task, subtasks)

    def _meet(self, task: Task, subtask: Subtask, trouble: TroubleError, now: float) -> None:
        """Skip the path, end the task, or try again later."""
        if trouble.skippable and task.request.get("skip_source_errors"):
            subtask.trouble = {"code": trouble.code, "details": trouble.details, "time": now}
            task.settle(subtask, Fate.SKIPPED)
            self._progress(task, [subtask], now)
            return
        task.faults += 1
        task.nice, task.nice_text, task.nice_details = trouble.code, trouble.description, trouble.details
        if trouble.fatal:
            task.fatal = {"code": trouble.code, "description": trouble.description}
            task.settle(subtask, Fate.FAILED)
            self._table.save(task, [subtask])
            self.end(task, Fate.FAILED, trouble.code, now, details=trouble.details)
            return
        self._table.event(task, trouble.code, trouble.description, trouble.details, now=now, is_error=True)
        self._retry_later(task, subtask, trouble, now)

    def _retry_later(self, task: Task, subtask: Subtask, trouble: TroubleError, now: float) -> None:
        if trouble.whole_task:
            task.backoff_until = now + self.retry_seconds
        else:
            subtask.retry_at = now + self.retry_seconds
            task.settle(subtask, Fate.RETRYING)
        self._table.save(task, [subtask])
