"""The part of Alyx's schema that ONE reads: which endpoints, actions and parameters there are."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from deployments.sandbox.alyx.endpoints import ENDPOINTS

_OTHERS = {"/auth-token": "post", "/new-download": "post", "/cache/info": "get"}


def openapi() -> Response:
    """Return the schema; it is readable without a login."""
    paths: dict[str, dict[str, Any]] = {path: {method: {}} for path, method in _OTHERS.items()}
    for name, endpoint in ENDPOINTS.items():
        filters = [*endpoint.filters, "django", "limit", "offset"]
        paths[f"/{name}"] = {"get": {"parameters": [_parameter(each, "query") for each in filters]}, "post": {}}
        read = {"parameters": [_parameter(endpoint.key, "path")]}
        paths[f"/{name}/{{{endpoint.key}}}"] = {"get": read, "put": read, "patch": read, "delete": read}
    schema = {"openapi": "3.0.3", "info": {"title": "", "version": "0.0.0"}, "paths": paths}
    headers = {"Allow": "GET, HEAD, OPTIONS", "Vary": "Accept, Cookie", "X-Frame-Options": "DENY"}
    return JSONResponse(schema, headers=headers, media_type="application/vnd.oai.openapi+json")


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {"in": place, "name": name, "schema": {"type": "string"}}
