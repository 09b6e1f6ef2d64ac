"""Looking at collections: their documents, and what lies in their directories."""

from __future__ import annotations

import stat as mode_bits
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployments.sandbox.globus.endpoints import Endpoint, PathError
from deployments.sandbox.globus.errors import TransferError, request_id
from deployments.sandbox.globus.filters import matches, ordered
from deployments.sandbox.globus.submission import require_consent

if TYPE_CHECKING:
    from pathlib import Path

    from deployments.sandbox.globus.store import Json
    from deployments.sandbox.globus.web import Call

LISTING_AT_MOST = 100_000
FAILED = "ExternalError.DirListingFailed"


def get_endpoint(call: Call) -> Json:
    """One endpoint document."""
    return call.service.endpoints.get(call.parts["id"]).document(call.base_url)


def _reach(call: Call) -> Endpoint:
    """The collection of the path, if it can be reached and the caller may."""
    endpoint = call.service.endpoints.get(call.parts["id"])
    require_consent(call, endpoint.consent)
    if endpoint.paused or not endpoint.connected:
        reason = "GCDisconnected" if endpoint.personal else "ConnectFailed"
        raise TransferError(502, f"{FAILED}.{reason}", f"Failed to reach {endpoint.display_name} ({endpoint.id})")
    return endpoint


def _locate(endpoint: Endpoint, path: str) -> Path:
    try:
        return endpoint.locate(path)
    except PathError:
        message = f"Denied by endpoint, Error (list)\nEndpoint: {endpoint.display_name} ({endpoint.id})\nFile: {path}"
        raise TransferError(403, "EndpointPermissionDenied", message) from None


def ls(call: Call) -> Json:
    """The entries of a directory."""
    endpoint = _reach(call)
    path = call.query.get("path") or endpoint.home
    directory = _locate(endpoint, path)
    if not directory.exists():
        raise TransferError(404, "ClientError.NotFound", f"Directory '{path}' not found on endpoint {endpoint.id}")
    if not directory.is_dir():
        raise TransferError(502, f"{FAILED}.NotDirectory", f"'{path}' is not a directory")
    hidden = call.query.get("show_hidden", "1") not in ("0", "false")
    rows = [entry(child) for child in sorted(directory.iterdir()) if hidden or not child.name.startswith(".")]
    rows = [row for row in rows if not call.filters or any(matches(row, one) for one in call.filters)]
    rows = ordered(rows, call.query.get("orderby", ""))
    page = rows[call.number("offset", 0) :][: call.number("limit", LISTING_AT_MOST)]
    return {
        "DATA_TYPE": "file_list",
        "DATA": page,
        "absolute_path": endpoint.absolute(path),
        "endpoint": endpoint.id,
        "length": len(page),
        "path": path.rstrip("/") + "/",
        "rename_supported": True,
        "symlink_supported": True,
        "total": len(rows),
    }


def stat(call: Call) -> Json:
    """One file or directory."""
    endpoint, path = _reach(call), call.query.get("path", "/")
    found = _locate(endpoint, path)
    if not found.exists():
        raise TransferError(404, "NotFound", f"Path not found, Error (list)\nEndpoint: {endpoint.id}\nFile: {path}")
    return entry(found)


def mkdir(call: Call) -> Json:
    """Make a directory."""
    endpoint, path = _reach(call), str(call.json().get("path"))
    directory = _locate(endpoint, path)
    if directory.exists():
        raise TransferError(502, "ExternalError.MkdirFailed.Exists", f"Path '{path}' already exists")
    directory.mkdir(parents=True)
    return {
        "DATA_TYPE": "mkdir_result",
        "code": "DirectoryCreated",
        "message": "The directory was created successfully",
        "request_id": request_id(),
        "resource": call.resource,
    }


def entry(path: Path) -> Json:
    """A file document."""
    facts = path.stat()
    modified = datetime.fromtimestamp(int(facts.st_mtime), tz=UTC)
    links = ("link_group", "link_last_modified", "link_size", "link_target", "link_user")
    return {
        "DATA_TYPE": "file",
        "name": path.name,
        "type": "dir" if path.is_dir() else "file",
        "size": facts.st_size,
        "permissions": f"{mode_bits.S_IMODE(facts.st_mode):04o}",
        "last_modified": modified.isoformat(sep=" "),
        "user": "sandbox",
        "group": "sandbox",
        **dict.fromkeys(links),
    }
