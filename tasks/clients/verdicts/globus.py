"""What Globus says: its API, the health of a task, the files that it stepped over, its events."""

from __future__ import annotations

import json
import re

from tasks.clients.verdicts.network import status_code
from tasks.clients.verdicts.rules import DownloadError, error

#: The last word of a Transfer or Auth error code.
_GLOBUS_API = {
    "ConsentRequired": "globus-consent",
    "PermissionDenied": "globus-forbidden",
    "EndpointPermissionDenied": "globus-forbidden",
    "EndpointNotFound": "globus-no-endpoint",
    "NotFound": "not-found",
    "AuthenticationFailed": "globus-login",
    "LoginFailed": "globus-session",
    "GCDisconnected": "globus-offline",
    "OperationPaused": "globus-paused",
    "TooManyPendingJobs": "globus-busy",
    "ConnectFailed": "globus-endpoint",
    "invalid_grant": "globus-login",
    "invalid_client": "globus-login",
    "unauthorized_client": "globus-login",
}
_GLOBUS_STATUS = {401: "globus-login", 403: "globus-forbidden"}


def globus_api(status: int, code: str, detail: str, *, wait: float | None = None) -> DownloadError:
    """The verdict on an error document of Globus Transfer or Globus Auth.

    Args:
        status: HTTP status.
        code: Transfer's `code` or Auth's `error`; "" where there is none.
        detail: What was asked and what Globus says, for the human.
        wait: Seconds that it asks to wait.
    """
    row = _GLOBUS_API.get(code.rpartition(".")[2]) or _GLOBUS_STATUS.get(status) or status_code(status)
    if row == "server-error" and wait is not None:
        row = "throttled"
    return error(row, detail, retry_after=wait)


#: What the health of a task (`nice_status`) or its end (`fatal_error`) means. Errors at the source are skipped
#: and listed by file, so a denied permission is one at the destination.
_GLOBUS_TASK = {
    "PERMISSION_DENIED": "globus-destination",
    "QUOTA_EXCEEDED": "globus-quota",
    "GC_NOT_CONNECTED": "globus-offline",
    "GC_PAUSED": "globus-gc-paused",
    "PAUSED": "globus-paused",
    "PAUSED_BY_ADMIN": "globus-paused",
    "AUTH": "globus-inactive",
    "CANCELED": "globus-cancelled",
    "EXPIRED": "globus-deadline",
    "FILE_NOT_FOUND": "not-found",
    "VERIFY_CHECKSUM": "globus-checksum",
}
_GLOBUS_SKIPPED = {"FILE_NOT_FOUND": "not-found", "PERMISSION_DENIED": "globus-forbidden"}


def globus_task(code: str, detail: str) -> DownloadError:
    """The verdict on the state of a whole transfer task; unknown trouble is transient, a stall clock bounds it."""
    return error(_GLOBUS_TASK.get(code, "globus-endpoint"), detail)


def globus_skipped(code: str, detail: str) -> DownloadError:
    """The verdict on a path that the service stepped over."""
    return error(_GLOBUS_SKIPPED.get(code, "bad-request"), detail)


def globus_event_path(details: str) -> str:
    """The path that an event speaks of, "" if it names none: the details are JSON or lines of text, for humans."""
    found = re.search(r'"path":\s*"((?:[^"\\]|\\.)*)"', details)
    if found:
        path: str = json.loads(f'"{found[1]}"')
        return path
    line = re.search(r"^File: (.+)$", details, re.MULTILINE)
    return line[1].strip() if line else ""
