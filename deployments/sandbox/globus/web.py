"""One request to the emulator, and how a plain function answers it."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from deployments.sandbox.globus.errors import AuthError, TransferError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from starlette.requests import Request

    from deployments.sandbox.globus.service import Service
    from deployments.sandbox.globus.store import Json


@dataclass(frozen=True)
class Call:
    """What a handler sees of a request."""

    service: Service
    base_url: str
    resource: str
    parts: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    filters: list[str]

    @property
    def now(self) -> float:
        """The emulator's time."""
        return self.service.clock.now()

    @property
    def bearer(self) -> str | None:
        """The bearer token, if there is one."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else None

    def json(self) -> Json:
        """The body as a JSON object."""
        try:
            document = json.loads(self.body or b"{}")
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise TransferError(400, "BadRequest", "The request body is not a JSON object")
        return document

    def form(self) -> dict[str, str]:
        """The body as form fields."""
        return dict(urllib.parse.parse_qsl(self.body.decode()))

    def number(self, name: str, default: int) -> int:
        """A whole number of the query."""
        text = self.query.get(name, str(default))
        if not text.isdigit():
            raise TransferError(400, "BadRequest", f"'{name}' must be a whole number, not '{text}'")
        return int(text)


Handler = Callable[[Call], Any]


def answer(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Make a route of a function from a call to a document; it runs in a thread, alone with the state."""

    async def route(request: Request) -> Response:
        call = Call(
            service=request.app.state.service,
            base_url=str(request.base_url).rstrip("/"),
            resource=request.url.path,
            parts=request.path_params,
            query=request.query_params,
            headers=request.headers,
            body=await request.body(),
            filters=request.query_params.getlist("filter"),
        )
        return await run_in_threadpool(_locked, handler, call)

    return route


def transfer_api(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """As :func:`answer`, for whoever has a valid token of the Transfer service."""

    def checked(call: Call) -> Any:
        record = call.service.tokens.check(call.bearer or "")
        if record is None or "transfer.api.globus.org" not in record["scope"]:
            raise TransferError(401, "AuthenticationFailed", "Token is not active")
        return handler(call)

    return answer(checked)


def _locked(handler: Handler, call: Call) -> Response:
    try:
        with call.service.engine.changed:
            result = handler(call)
    except TransferError as problem:
        return JSONResponse(problem.document(call.resource), problem.status)
    except AuthError as problem:
        return JSONResponse({"error": problem.error}, problem.status)
    return result if isinstance(result, Response) else JSONResponse(result)
