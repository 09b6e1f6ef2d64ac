"""Watching tasks: documents, lists, events, per-file results, cancelling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.sandbox.globus.clock import from_iso
from deployments.sandbox.globus.documents import skipped_error, successful_transfer, task_document
from deployments.sandbox.globus.errors import TransferError, request_id
from deployments.sandbox.globus.filters import matches, ordered
from deployments.sandbox.globus.tasks import Fate, Kind, Task

if TYPE_CHECKING:
    from deployments.sandbox.globus.store import Json
    from deployments.sandbox.globus.web import Call

#: Rows of one page of per-file results.
PAGE = 100


def _task(call: Call) -> Task:
    task = call.service.table.tasks.get(call.parts["id"])
    if task is None:
        raise TransferError(404, "ClientError.NotFound", f"No such task '{call.parts['id']}'")
    return task


def _document(call: Call, task: Task) -> Json:
    endpoints = call.service.endpoints
    source, destination = task.request["source_endpoint"], task.request["destination_endpoint"]
    return task_document(task, endpoints.get(source), endpoints.get(destination), call.now)


def _result(call: Call, code: str, message: str) -> Json:
    return {
        "DATA_TYPE": "result",
        "code": code,
        "message": message,
        "request_id": request_id(),
        "resource": call.resource,
    }


def _window(call: Call, kind: str, rows: list[Json], limit: int) -> Json:
    """A page by limit and offset."""
    offset = call.number("offset", 0)
    page = rows[offset : offset + limit]
    return {
        "DATA_TYPE": kind,
        "length": len(page),
        "limit": limit,
        "offset": offset,
        "total": len(rows),
        "DATA": page,
    }


def _marked(call: Call, kind: str, rows: list[Json]) -> Json:
    """A page by marker; the last one has no next marker."""
    start = call.number("marker", 0)
    following = start + PAGE
    return {
        "DATA_TYPE": kind,
        "marker": start,
        "next_marker": following if following < len(rows) else None,
        "DATA": rows[start:following],
    }


def get_task(call: Call) -> Json:
    """One task document."""
    return _document(call, _task(call))


def update_task(call: Call) -> Json:
    """Change a task's label or deadline."""
    task, changes = _task(call), call.json()
    task.label = changes.get("label", task.label)
    if changes.get("deadline"):
        task.deadline, task.deadline_fixed = from_iso(changes["deadline"]), True
    call.service.table.save(task)
    call.service.table.commit()
    return _result(call, "Updated", "The task has been updated successfully.")


def cancel_task(call: Call) -> Json:
    """Stop a task where it stands."""
    task = _task(call)
    if task.ended:
        return _result(call, "TaskComplete", "The task completed before the cancel request was processed.")
    call.service.worker.end(task, Fate.CANCELED, "CANCELED", call.now, details="Canceled by the task owner")
    call.service.table.commit()
    call.service.engine.kick()
    return _result(call, "Canceled", "The task has been cancelled successfully.")


def task_list(call: Call) -> Json:
    """Tasks, newest first."""
    rows = [_document(call, task) for task in reversed(call.service.table.tasks.values())]
    rows = [row for row in rows if all(matches(row, expression) for expression in call.filters)]
    return _window(call, "task_list", ordered(rows, call.query.get("orderby", "")), call.number("limit", 10))


def event_list(call: Call) -> Json:
    """Events, newest first."""
    rows = [event for event in reversed(_task(call).events) if all(matches(event, one) for one in call.filters)]
    return _window(call, "event_list", rows, call.number("limit", 10))


def successful_transfers(call: Call) -> Json:
    """Files that were moved; those that the sync level found good are not among them."""
    task = _task(call)
    if not task.ended:
        raise TransferError(400, "ClientError.BadRequest", "Cannot list successful transfers: task still in progress")
    done = (s for s in task.subtasks if s.kind == Kind.COPY and s.fate == Fate.SUCCEEDED and not s.synced)
    return _marked(call, "successful_transfers", [successful_transfer(subtask) for subtask in done])


def skipped_errors(call: Call) -> Json:
    """Paths that were stepped over."""
    skipped = (subtask for subtask in _task(call).subtasks if subtask.fate == Fate.SKIPPED)
    return _marked(call, "skipped_errors", [skipped_error(subtask) for subtask in skipped])


def pause_info(call: Call) -> Json:
    """Why a task is paused."""
    task = _task(call)
    rule = {"DATA_TYPE": "pause_rule_limited", "id": "1", "message": "Paused by the sandbox", "start_time": None}
    return {
        "DATA_TYPE": "pause_info_limited",
        "pause_rules": [rule] if task.paused else [],
        "source_pause_message": "Paused by the sandbox" if task.paused else None,
        "destination_pause_message": None,
        "source_pause_message_share": None,
        "destination_pause_message_share": None,
    }
