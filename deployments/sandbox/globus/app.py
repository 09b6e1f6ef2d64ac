"""The routes of the emulator, and the faults that a request meets before and after its handler."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from deployments.sandbox.globus import auth, control, https, listing, submission, task_routes
from deployments.sandbox.globus.web import Handler, answer, transfer_api

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from deployments.sandbox.globus.faults import HttpFault
    from deployments.sandbox.globus.service import Service

TRANSFER_ROUTES: dict[str, Handler] = {
    "GET /submission_id": submission.get_submission_id,
    "POST /transfer": submission.submit_transfer,
    "GET /task_list": task_routes.task_list,
    "GET /task/{id}": task_routes.get_task,
    "PUT /task/{id}": task_routes.update_task,
    "POST /task/{id}/cancel": task_routes.cancel_task,
    "GET /task/{id}/event_list": task_routes.event_list,
    "GET /task/{id}/successful_transfers": task_routes.successful_transfers,
    "GET /task/{id}/skipped_errors": task_routes.skipped_errors,
    "GET /task/{id}/pause_info": task_routes.pause_info,
    "GET /endpoint/{id}": listing.get_endpoint,
    "GET /operation/endpoint/{id}/ls": listing.ls,
    "GET /operation/endpoint/{id}/stat": listing.stat,
    "POST /operation/endpoint/{id}/mkdir": listing.mkdir,
}
OTHER_ROUTES: dict[str, Handler] = {
    "POST /v2/oauth2/token": auth.token,
    "POST /v2/oauth2/token/revoke": auth.revoke,
    "GET /v2/oauth2/authorize": auth.authorize,
    "GET /https/{id}/{path:path}": https.download,
    "POST /_emu/endpoint": control.set_endpoint,
    "POST /_emu/faults": control.add_fault,
    "DELETE /_emu/faults": control.clear_faults,
    "GET /_emu/log": control.read_log,
    "DELETE /_emu/log": control.clear_log,
    "POST /_emu/clock": control.set_clock,
    "POST /_emu/pace": control.set_pace,
    "POST /_emu/tokens": control.set_tokens,
    "POST /_emu/task/{id}": control.set_task,
    "POST /_emu/settle": control.settle,
}


def create_app(service: Service) -> ASGIApp:
    """The ASGI application of one emulator; the fault layer is outermost, next to the socket."""
    routes = [_route("/v0.10", line, transfer_api(handler)) for line, handler in TRANSFER_ROUTES.items()]
    routes += [_route("", line, answer(handler)) for line, handler in OTHER_ROUTES.items()]
    app = Starlette(routes=routes)
    app.state.service = service
    return FaultLayer(app, service)


def _route(prefix: str, line: str, endpoint: object) -> Route:
    method, _, path = line.partition(" ")
    return Route(prefix + path, endpoint, methods=[method])  # type: ignore[arg-type]


class FaultLayer:
    """Logs every request, and gives those that a fault matches what it says."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or not."""
        if scope["type"] != "http" or scope["path"].startswith("/_emu/"):
            await self._app(scope, receive, send)
            return
        request = f"{scope['method']} {scope['path']}"
        entry = {"request": request, "query": scope["query_string"].decode(), "status": 0}
        self._service.log.append(entry)

        async def logged(message: Message) -> None:
            entry["status"] = message.get("status", entry["status"])
            await send(message)

        fault = self._service.faults.hit_request(request)
        if fault is None:
            await self._app(scope, receive, logged)
        else:
            await self._meet(fault, scope, receive, send, logged)

    async def _meet(self, fault: HttpFault, scope: Scope, receive: Receive, send: Send, logged: Send) -> None:
        if fault.kind == "status":
            await JSONResponse(fault.body, fault.status, fault.headers)(scope, receive, logged)
        elif fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            await self._app(scope, receive, logged)
        elif fault.kind == "drop_before":
            await _drop(receive, send)
        else:
            await self._app(scope, receive, _unheard)
            await _drop(receive, send)


async def _unheard(message: Message) -> None:
    """A reply that never leaves."""


async def _drop(receive: Receive, send: Send) -> None:
    """Close the connection without a reply.

    ASGI has no word for it: `send` is a method of uvicorn's request cycle, which knows the socket.
    """
    send.__self__.transport.abort()  # type: ignore[attr-defined]
    while (await receive())["type"] != "http.disconnect":
        pass
