"""The forms of Alyx's answers: JSON with its status in the body, and HTML where Django answers itself."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, JSONResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from deployments.sandbox.alyx.gate import Refusal


def as_json(status: int, body: Any, headers: dict[str, str]) -> Response:
    """Return an answer as JSON."""
    return JSONResponse(body, status, {"X-Frame-Options": "DENY", **headers})


def refused(refusal: Refusal, headers: dict[str, str] | None = None) -> Response:
    """Return a refusal, its status repeated in the body."""
    headers = {**(headers or {}), **refusal.headers}
    return as_json(refusal.status, {**refusal.body, "status_code": refusal.status}, headers)


def browsable(answer: Any, headers: dict[str, str]) -> Response:
    """Return the page that a browser gets instead of JSON."""
    text = html.escape(json.dumps(answer, indent=4, ensure_ascii=False))
    page = (
        f"<!DOCTYPE html>\n<html><head><title>Django REST framework</title></head><body><pre>{text}</pre></body></html>"
    )
    return HTMLResponse(page, headers={"X-Frame-Options": "DENY", **headers})


def redirect(status: int, location: str, headers: dict[str, str] | None = None) -> Response:
    """Return a redirect, as relative as it is given."""
    return Response(status_code=status, headers={"Location": location, **(headers or {})}, media_type="text/html")


def error_page(status: int, title: str, text: str = "") -> Response:
    """Return Django's own page for an error that no view has answered."""
    body = (
        f'\n<!doctype html>\n<html lang="en">\n<head>\n  <title>{title}</title>\n</head>\n<body>\n'
        f"  <h1>{title}</h1><p>{text}</p>\n</body>\n</html>\n"
    )
    return HTMLResponse(body, status)


async def no_such_page(_request: Request, _error: Exception | None) -> Response:
    """Answer an address that nothing stands behind: HTML, where an unknown row is JSON."""
    page = error_page(404, "Not Found", "The requested resource was not found on this server.")
    page.headers["X-Frame-Options"] = "DENY"
    return page
