"""The work of one subtask: scan a path, make a directory, copy a file in place, prove the copy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from deployments.sandbox.globus.files import copy_piece, corrupt, digest, in_sync
from deployments.sandbox.globus.tasks import Kind, Subtask, Task
from deployments.sandbox.globus.trouble import StalledError, TroubleError, injected, locate, not_found

if TYPE_CHECKING:
    from pathlib import Path

    from deployments.sandbox.globus.endpoints import Endpoint, Endpoints
    from deployments.sandbox.globus.faults import Faults
    from deployments.sandbox.globus.pace import Pace


class Mover:
    """Moves bytes between the directories of two collections, as far as faults and pace allow."""

    def __init__(self, endpoints: Endpoints, faults: Faults, pace: Pace) -> None:
        self._endpoints = endpoints
        self._faults = faults
        self._pace = pace

    def sides(self, task: Task) -> tuple[Endpoint, Endpoint]:
        """Source and destination of a task."""
        request = task.request
        return self._endpoints.get(request["source_endpoint"]), self._endpoints.get(request["destination_endpoint"])

    def scan(self, task: Task, subtask: Subtask) -> list[Subtask]:
        """Look at one submitted item; the subtasks that follow from it.

        Raises:
            TroubleError: what the event list is to say.
        """
        self._meet_fault("scan", task, subtask)
        path = locate(self.sides(task)[0], subtask.source, at_source=True)
        recursive, is_directory = bool(subtask.item.get("recursive")), path.is_dir()
        if not is_directory and not path.exists():
            raise not_found(subtask.source)
        if is_directory != recursive:
            problem = "Is a directory" if is_directory else "Not a directory"
            raise TroubleError("ENDPOINT_ERROR", f"Error (scan)\nFile: {subtask.source}\nDetails: {problem}")
        paths = [path, *sorted(path.rglob("*"))] if recursive else [path]
        first = len(task.subtasks)
        return [_found(subtask, first + ahead, path, below) for ahead, below in enumerate(paths)]

    def mkdir(self, task: Task, subtask: Subtask) -> None:
        """Make one directory at the destination.

        Raises:
            TroubleError: what the event list is to say.
        """
        locate(self.sides(task)[1], subtask.destination, at_source=False).mkdir(parents=True, exist_ok=True)

    def copy(self, task: Task, subtask: Subtask) -> bool:
        """Copy the next piece of a file, in place, where everybody can see it; True when the file is done.

        Raises:
            TroubleError: what the event list is to say.
            StalledError: the file is held, and nothing is to be said.
        """
        source, destination = self.sides(task)
        path = locate(source, subtask.source, at_source=True)
        target = locate(destination, subtask.destination, at_source=False)
        if subtask.offset == 0:
            self._begin(task, subtask, path)
            if in_sync(task.request.get("sync_level"), path, target):
                subtask.synced = True
                return True
        self._move(task, subtask, path, target)
        if subtask.offset < subtask.size:
            return False
        self._prove(task, subtask, path, target)
        return True

    def _begin(self, task: Task, subtask: Subtask, path: Path) -> None:
        self._meet_fault("copy", task, subtask)
        if not path.is_file():
            raise not_found(subtask.source)
        subtask.size = path.stat().st_size

    def _move(self, task: Task, subtask: Subtask, path: Path, target: Path) -> None:
        moved = copy_piece(path, target, subtask.offset, self._room(subtask))
        subtask.offset += moved
        task.bytes_moved += moved
        self._pace.spend(moved)

    def _room(self, subtask: Subtask) -> int:
        """How many bytes of this file may move now; a stalled one stops half-way."""
        left = subtask.size - subtask.offset
        if not self._faults.hit_path("copy", subtask.source, subtask.destination, quiet="STALL"):
            return self._pace.room(left)
        if subtask.offset:
            raise StalledError(subtask.source)
        return max(1, subtask.size // 2)

    def _prove(self, task: Task, subtask: Subtask, path: Path, target: Path) -> None:
        """Compare what arrived with what was there, and with what the submission says of it."""
        if self._faults.hit_path("copy", subtask.source, subtask.destination, quiet="CORRUPT"):
            corrupt(target)
        expected = subtask.item.get("external_checksum")
        if task.request.get("verify_checksum") or expected:
            self._verify(task, subtask, path, target)
        if expected and expected.lower() != subtask.checksum:
            details = f"File: {subtask.source}\nExpected {expected}, got {subtask.checksum}"
            raise TroubleError("VERIFY_CHECKSUM", details, fatal=True)
        if task.request.get("preserve_timestamp"):
            modified = path.stat().st_mtime_ns
            os.utime(target, ns=(modified, modified))

    def _verify(self, task: Task, subtask: Subtask, path: Path, target: Path) -> None:
        algorithm = subtask.item.get("checksum_algorithm") or "MD5"
        subtask.checksum = digest(path, algorithm)
        task.bytes_checksummed += subtask.size
        if digest(target, algorithm) != subtask.checksum:
            subtask.offset = 0
            raise TroubleError("VERIFY_CHECKSUM", f"Checksum verification failed\nFile: {subtask.destination}")

    def _meet_fault(self, op: str, task: Task, subtask: Subtask) -> None:
        fault = self._faults.hit_path(op, subtask.source, subtask.destination)
        if fault:
            quota = bool(task.request.get("fail_on_quota_errors"))
            raise injected(fault, subtask, *self.sides(task), quota=quota)


def _found(item: Subtask, number: int, top: Path, path: Path) -> Subtask:
    """The subtask for a file or directory that a scan found."""
    below = "" if path == top else "/" + path.relative_to(top).as_posix()
    source, destination = item.source.rstrip("/") + below, item.destination.rstrip("/") + below
    if path.is_dir():
        return Subtask(number, Kind.MKDIR, source + "/", destination + "/")
    return Subtask(number, Kind.COPY, source, destination, item.item, size=path.stat().st_size)
