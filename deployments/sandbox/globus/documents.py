"""A task as the Transfer API shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.sandbox.globus.clock import iso
from deployments.sandbox.globus.tasks import Fate, Kind, Subtask, Task

if TYPE_CHECKING:
    from deployments.sandbox.globus.endpoints import Endpoint
    from deployments.sandbox.globus.store import Json

OWNER = "5a4d0000-0000-4000-8000-000000000001"


def task_document(task: Task, source: Endpoint, destination: Endpoint, now: float) -> Json:
    """The task document, with the rules that real ones follow."""
    return {
        "DATA_TYPE": "task",
        "task_id": task.id,
        "type": "TRANSFER",
        "status": task.status,
        "label": task.label,
        "owner_id": OWNER,
        "username": "u_sandbox",
        "command": "API 0.10",
        "request_time": iso(task.requested),
        "completion_time": iso(task.completed) if task.completed else None,
        "deadline": iso(task.deadline),
        "is_paused": task.paused,
        "fatal_error": task.fatal,
        "faults": task.faults,
        "canceled_by_admin": None,
        "canceled_by_admin_message": None,
        "history_deleted": False,
        **_sides(source, destination),
        **_options(task.request),
        **_health(task),
        **_counts(task, now),
    }


def _sides(source: Endpoint, destination: Endpoint) -> Json:
    sides = {"source": source, "destination": destination}
    return {
        **{f"{side}_endpoint": f"sandbox#{endpoint.id}" for side, endpoint in sides.items()},
        **{f"{side}_endpoint_id": endpoint.id for side, endpoint in sides.items()},
        **{f"{side}_endpoint_display_name": endpoint.display_name for side, endpoint in sides.items()},
    }


def _options(request: Json) -> Json:
    flags = (
        "delete_destination_extra",
        "encrypt_data",
        "fail_on_quota_errors",
        "preserve_timestamp",
        "skip_source_errors",
        "verify_checksum",
    )
    return {
        **{flag: bool(request.get(flag)) for flag in flags},
        "sync_level": request.get("sync_level"),
        "filter_rules": request.get("filter_rules"),
        "recursive_symlinks": "ignore",
    }


def _health(task: Task) -> Json:
    """An ended task has no health; an active one is well or tells its trouble."""
    if task.ended:
        names = (
            "is_ok",
            "nice_status",
            "nice_status_short_description",
            "nice_status_details",
            "nice_status_expires_in",
        )
        return dict.fromkeys(names)
    return {
        "is_ok": task.nice in ("OK", "Queued"),
        "nice_status": task.nice,
        "nice_status_short_description": task.nice_text,
        "nice_status_details": task.nice_details,
        "nice_status_expires_in": -1,
    }


def _counts(task: Task, now: float) -> Json:
    seconds = max(1.0, (task.completed or now) - task.requested)
    copied = task.count(kind=Kind.COPY, fate=Fate.SUCCEEDED)
    synced = sum(subtask.synced for subtask in task.subtasks)
    return {
        "directories": task.count(kind=Kind.MKDIR),
        "files": task.count(kind=Kind.COPY),
        "files_skipped": synced,
        "files_transferred": copied - synced,
        "symlinks": 0,
        "bytes_transferred": task.bytes_moved,
        "bytes_checksummed": task.bytes_checksummed,
        "effective_bytes_per_second": int(task.bytes_moved / seconds),
        "subtasks_total": len(task.subtasks),
        **{f"subtasks_{fate.value}": task.count(fate=fate) for fate in Fate},
    }


def successful_transfer(subtask: Subtask) -> Json:
    """A row for a file that was moved."""
    return {
        "DATA_TYPE": "successful_transfer",
        "source_path": subtask.source,
        "destination_path": subtask.destination,
        "size": subtask.size,
        "checksum": subtask.checksum,
        "checksum_algorithm": (subtask.item.get("checksum_algorithm") or "MD5") if subtask.checksum else None,
        "dynamic": False,
    }


def skipped_error(subtask: Subtask) -> Json:
    """A row for a path that was stepped over."""
    trouble = subtask.trouble or {}
    return {
        "DATA_TYPE": "skipped_error",
        "source_path": subtask.source,
        "destination_path": subtask.destination,
        "error_code": trouble["code"],
        "error_details": trouble["details"],
        "error_time": iso(trouble["time"]),
        "is_directory": bool(subtask.item.get("recursive")),
        "is_symlink": False,
        "is_delete_destination_extra": False,
        "external_checksum": subtask.item.get("external_checksum"),
        "checksum_algorithm": subtask.item.get("checksum_algorithm"),
    }
