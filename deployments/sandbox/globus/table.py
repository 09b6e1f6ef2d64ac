"""The task table: every task with its subtasks and events, in memory and on disk."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from deployments.sandbox.globus.clock import iso
from deployments.sandbox.globus.tasks import Kind, Subtask, Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployments.sandbox.globus.store import Json, Store

DAY = 86_400.0


class TaskTable:
    """Tasks by id, oldest first, and the submission ids that led to them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tasks: dict[str, Task] = {}
        self.submissions: dict[str, str | None] = {}
        self._changed: dict[str, dict[int, Subtask]] = {}
        self._load()
        self._open = [*self.tasks.values()]

    def _load(self) -> None:
        for _, record in self._store.load("task"):
            self.tasks[record["id"]] = Task(**record)
        for key, record in self._store.load("subtask"):
            # A file that was being copied starts again.
            self.tasks[key.partition("/")[0]].add([Subtask(**{**record, "offset": 0})])
        for key, event in self._store.load("event"):
            self.tasks[key.partition("/")[0]].events.append(event)
        for task in self.tasks.values():
            task.unhold()
        self.submissions = {key: record["task"] for key, record in self._store.load("submission")}

    def remember(self, submission: str, task: str | None) -> None:
        """Keep what became of a submission id, across restarts."""
        self.submissions[submission] = task
        self._store.put("submission", [(submission, {"task": task})])

    def create(self, request: Json, items: list[Json], *, now: float, deadline: float | None) -> Task:
        """Queue a task for a submitted transfer document."""
        task = Task(
            id=str(uuid.uuid4()),
            request=request,
            requested=now,
            deadline=deadline or now + DAY,
            deadline_fixed=deadline is not None,
            label=request.get("label"),
        )
        task.add(
            Subtask(number, Kind.SCAN, item["source_path"], item["destination_path"], item)
            for number, item in enumerate(items)
        )
        self.tasks[task.id] = task
        self._open.append(task)
        self.remember(request["submission_id"], task.id)
        self.save(task, task.subtasks)
        return task

    def save(self, task: Task, subtasks: Iterable[Subtask] = ()) -> None:
        """Have the next :meth:`commit` write a task's row and those of some of its subtasks."""
        self._changed.setdefault(task.id, {}).update((subtask.number, subtask) for subtask in subtasks)

    def commit(self) -> None:
        """Write what has changed: a client must never see what a restart would take back."""
        for task_id, subtasks in self._changed.items():
            self._store.put("task", [(task_id, self.tasks[task_id].record())])
            self._store.put("subtask", ((f"{task_id}/{number}", vars(one)) for number, one in subtasks.items()))
        self._changed.clear()
        self._store.commit()

    def event(self, task: Task, code: str, description: str, details: str, *, now: float, is_error: bool) -> None:
        """Add to a task's event list."""
        event = {
            "DATA_TYPE": "event",
            "code": code,
            "description": description,
            "details": details,
            "is_error": is_error,
            "time": iso(now),
        }
        self._store.put("event", [(f"{task.id}/{len(task.events)}", event)])
        task.events.append(event)

    def active(self) -> list[Task]:
        """The tasks that have not ended, oldest first."""
        self._open = [task for task in self._open if not task.ended]
        return self._open
