"""The sandbox's own routes, for those who watch it from another process.

`GET /requests` is the journal, `GET /counters/<server>` requests and bytes by path, `GET /manifest` the truth
about every dataset, `POST /reset` makes everything as it was at the start.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from deployments.sandbox.lab import Lab


def control(lab: Lab) -> Starlette:
    """Return the application for a lab."""

    def requests(_: Request) -> Response:
        return JSONResponse(lab.requests.to_json())

    def counters(request: Request) -> Response:
        return JSONResponse(lab.requests.by_path(request.path_params["server"]))

    def manifest(_: Request) -> Response:
        return JSONResponse([asdict(each) for each in lab.manifest.values()])

    def reset(_: Request) -> Response:
        lab.reset()
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/requests", requests),
            Route("/counters/{server}", counters),
            Route("/manifest", manifest),
            Route("/reset", reset, methods=["POST"]),
        ]
    )
