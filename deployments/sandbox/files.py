"""A file server that answers as nginx does: ranges, validators, and a login where one is asked for."""

from __future__ import annotations

import base64
from email.utils import formatdate
from mimetypes import types_map
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from deployments.sandbox.ranges import Span, UnsatisfiableError, asked, respond

if TYPE_CHECKING:
    from os import stat_result
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import ASGIApp

_SERVER = "nginx/1.22.1"
_REALM = 'Basic realm="Sandbox members"'
_TITLES = {
    401: "401 Authorization Required",
    404: "404 Not Found",
    405: "405 Not Allowed",
    416: "416 Requested Range Not Satisfiable",
}
_TYPES = {suffix: types_map[suffix] for suffix in (".mp4", ".html", ".json", ".png")}


def file_server(root: Path, *, logins: dict[str, str] | None = None) -> ASGIApp:
    """Return an application that serves the files below a directory.

    Args:
        root: The directory.
        logins: Passwords by user name; None serves everybody. It is read at each request, so that a test
            can change a password while the server runs.
    """

    async def serve(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            await request.body()  # unread, its bytes would be taken for the next request of the connection
            return _page(405)
        if logins is not None and not _admitted(request, logins):
            return _page(401, {"WWW-Authenticate": _REALM})
        return _file(request, root)

    return Starlette(routes=[Route("/{path:path}", serve, methods=["GET", "POST", "PUT", "DELETE", "PATCH"])])


def _admitted(request: Request, logins: dict[str, str]) -> bool:
    scheme, _, word = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(word, validate=True).decode().partition(":")
    except ValueError:
        return False
    return scheme.lower() == "basic" and logins.get(user) == password


def _file(request: Request, root: Path) -> Response:
    path = root / request.path_params["path"]
    if ".." in path.parts or not path.is_file():
        return _page(404)
    stat = path.stat()
    headers = _validators(path, stat)
    wanted = request.headers.get("Range") if stat.st_size and _still_valid(request, headers) else None
    try:
        span = asked(wanted, stat.st_size)
    except UnsatisfiableError:
        return _page(416, {"Content-Range": f"bytes */{stat.st_size}"})
    if span is None:
        return respond(request, path, Span(0, stat.st_size), {**headers, "Accept-Ranges": "bytes"}, 200)
    return respond(request, path, span, {**headers, "Content-Range": span.header(stat.st_size)}, 206)


def _validators(path: Path, stat: stat_result) -> dict[str, str]:
    return {
        "Server": _SERVER,
        "Content-Type": _TYPES.get(PurePosixPath(path).suffix, "application/octet-stream"),
        "Last-Modified": formatdate(stat.st_mtime, usegmt=True),
        "ETag": f'"{int(stat.st_mtime):x}-{stat.st_size:x}"',
    }


def _still_valid(request: Request, headers: dict[str, str]) -> bool:
    condition = request.headers.get("If-Range")
    return condition in (None, headers["ETag"], headers["Last-Modified"])


def _page(status: int, headers: dict[str, str] | None = None) -> Response:
    """Return the page that nginx has for an error, byte for byte."""
    title = _TITLES[status]
    body = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        f"<hr><center>{_SERVER}</center>\r\n</body>\r\n</html>\r\n"
    )
    return Response(body, status, {"Server": _SERVER, **(headers or {})}, media_type="text/html")
