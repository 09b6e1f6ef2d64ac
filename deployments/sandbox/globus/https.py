"""The HTTPS servers of collections: whole files and ranges, for a bearer, for anyone, or after a login."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, RedirectResponse, Response

from deployments.sandbox.globus.endpoints import HTTPS, Endpoint, PathError
from deployments.sandbox.globus.errors import TransferError
from deployments.sandbox.globus.submission import require_consent

if TYPE_CHECKING:
    from deployments.sandbox.globus.web import Call


def download(call: Call) -> Response:
    """A file over HTTPS: with a bearer token, or for anyone, or a redirect to the login page."""
    endpoint = call.service.endpoints.get(call.parts["id"])
    if not endpoint.https:
        raise TransferError(404, "NotFound", "This collection has no HTTPS server")
    if not endpoint.anonymous and call.bearer is None:
        query = urllib.parse.urlencode(
            {"client_id": endpoint.id, "response_type": "code", "redirect_uri": call.resource}
        )
        return RedirectResponse(f"{call.base_url}/v2/oauth2/authorize?{query}", 302)
    if not endpoint.anonymous:
        _check_https(call, endpoint)
    return _file(endpoint, "/" + call.parts["path"])


def _check_https(call: Call, endpoint: Endpoint) -> None:
    record = call.service.tokens.check(call.bearer or "")
    if record is None:
        raise TransferError(401, "AuthenticationFailed", "Token is not active")
    if HTTPS.format(endpoint.id) not in record["scope"].split():
        raise TransferError(403, "PermissionDenied", "The token is not for this collection")
    require_consent(call, endpoint.consent)


def _file(endpoint: Endpoint, path: str) -> Response:
    if not endpoint.connected or endpoint.paused:
        raise TransferError(502, "ConnectFailed", "The collection cannot be reached")
    try:
        found = endpoint.locate(path)
    except PathError:
        raise TransferError(403, "PermissionDenied", f"Path '{path}' is not allowed") from None
    if not found.is_file():
        raise TransferError(404, "NotFound", f"Path '{path}' not found")
    return FileResponse(found, media_type="application/octet-stream")
