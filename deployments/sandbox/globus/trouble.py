"""What goes wrong with one path of a task, and the words in which the service tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.sandbox.globus.endpoints import Endpoint, PathError

if TYPE_CHECKING:
    from pathlib import Path

    from deployments.sandbox.globus.faults import PathFault
    from deployments.sandbox.globus.tasks import Subtask

#: Errors at the source that `skip_source_errors` steps over.
SKIPPABLE = ("PERMISSION_DENIED", "FILE_NOT_FOUND", "AMBIGUOUS_PATH")


class TroubleError(Exception):
    """What keeps a subtask from being done, as an event code and how far it reaches.

    Attributes:
        skippable: `skip_source_errors` steps over it.
        whole_task: It holds the whole task, not only this path.
        fatal: It ends the task.
    """

    def __init__(
        self, code: str, details: str, *, skippable: bool = False, whole_task: bool = False, fatal: bool = False
    ) -> None:
        super().__init__(code)
        self.code = code
        self.details = details
        self.skippable = skippable
        self.whole_task = whole_task
        self.fatal = fatal

    @property
    def description(self) -> str:
        """The few words of the event list."""
        return WORDS.get(self.code, self.code.lower().replace("_", " "))


class StalledError(Exception):
    """Nothing moves, and nothing says so."""


WORDS = {"VERIFY_CHECKSUM": "checksum verification failed", "FAIL_TASK": "endpoint error"}


def described(endpoint: Endpoint, path: str, reason: str, *, operation: str = "transfer") -> str:
    """The text of an event's details."""
    return (
        f"Error ({operation})\nEndpoint: {endpoint.display_name} ({endpoint.id})\nServer: 127.0.0.1:2811\n"
        f"File: {path}\nCommand: RETR {path}\nMessage: Fatal FTP response\n---\n"
        f"Details: 500-GlobusError: v=1 c={reason}"
    )


def not_found(path: str) -> TroubleError:
    """The source has no such file."""
    details = (
        '{"context":[{"operation":"File Scan","path":"' + path + '"}],"error":{"body":"550-GlobusError: v=1 '
        'c=PATH_NOT_FOUND\\r\\n550-GridFTP-Error-String: No such file or directory","code":550}}'
    )
    return TroubleError("FILE_NOT_FOUND", details, skippable=True)


def injected(
    fault: PathFault, subtask: Subtask, source: Endpoint, destination: Endpoint, *, quota: bool
) -> TroubleError:
    """The trouble that a fault asks for; `quota` says whether a full disk ends the task."""
    at, path = (source, subtask.source) if fault.side == "source" else (destination, subtask.destination)
    details = fault.details or described(at, path, fault.code)
    if fault.code == "FAIL_TASK":
        return TroubleError("ENDPOINT_ERROR", details, fatal=True)
    skippable = fault.side == "source" and fault.code in SKIPPABLE
    return TroubleError(fault.code, details, skippable=skippable, fatal=quota and fault.code == "QUOTA_EXCEEDED")


def locate(endpoint: Endpoint, path: str, *, at_source: bool) -> Path:
    """Where a path lies on this machine; a path that the collection does not show is permission denied."""
    try:
        return endpoint.locate(path)
    except PathError:
        details = described(endpoint, path, "PERMISSION_DENIED") + "\\r\\n500-GridFTP-Error: Path not allowed."
        raise TroubleError("PERMISSION_DENIED", details, skippable=at_source) from None


def unreachable(endpoint: Endpoint) -> TroubleError | None:
    """What keeps a whole collection from working, if anything."""
    if endpoint.paused:
        details = f"Globus Connect is paused on {endpoint.display_name} ({endpoint.id})"
        return TroubleError("GC_PAUSED", details, whole_task=True)
    if not endpoint.connected:
        code = "GC_NOT_CONNECTED" if endpoint.personal else "CONNECT_FAILED"
        details = f"The endpoint {endpoint.display_name} ({endpoint.id}) cannot be reached"
        return TroubleError(code, details, whole_task=True)
    return None
