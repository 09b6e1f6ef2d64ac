"""The REST API of Alyx 3.6.1, as the recorded exchanges show it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from deployments.sandbox.alyx import actions, cache
from deployments.sandbox.alyx.answers import as_json, browsable, error_page, no_such_page, redirect, refused
from deployments.sandbox.alyx.database import database
from deployments.sandbox.alyx.endpoints import ENDPOINTS, key_of
from deployments.sandbox.alyx.filters import BadFilterError, predicates
from deployments.sandbox.alyx.gate import Accounts, Refusal, Throttle, negotiate
from deployments.sandbox.alyx.openapi import openapi
from deployments.sandbox.alyx.pages import page
from deployments.sandbox.alyx.query import QueryError
from deployments.sandbox.alyx.rows import View

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from deployments.sandbox.alyx.endpoints import Endpoint
    from deployments.sandbox.data import World

    Handler = Callable[[Request], Awaitable[Response]]
    Worker = Callable[[Request], Awaitable[Any]]

LIST, ROW = "GET, POST, HEAD, OPTIONS", "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"
READ, POST = "GET, HEAD, OPTIONS", "POST, OPTIONS"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_HOSTS = (b"127.0.0.1", b"localhost")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LONGEST_LINE = 8190  # Apache's own limit, which is what stands before a real Alyx


def _here(scope: Scope) -> bytes:
    """The address that a request has come to."""
    host, _port = scope["server"]
    return str(host).encode()


class Alyx:
    """The state behind the API, changeable while it runs.

    Args:
        world: What Alyx knows.
        urls: Addresses of the other servers by name; read at each request.
        keys: Access key and secret of each private bucket.
        seed: Of the order of pages.
    """

    def __init__(
        self,
        world: World,
        urls: Mapping[str, str],
        keys: Mapping[str, tuple[str, str]],
        accounts: Accounts,
        seed: int = 0,
    ) -> None:
        self.world = world
        self.urls = urls
        self.keys = keys
        self.accounts = accounts
        self.seed = seed
        self.throttle = Throttle()
        self.downloads: dict[tuple[str, str], int] = {}
        self._routes = Starlette(routes=self._table(), exception_handlers={404: no_such_page})
        self._routes.router.redirect_slashes = False

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, where the line is short enough and the host is one of ours."""
        app: ASGIApp = self._routes
        if len(scope["raw_path"]) + len(scope["query_string"]) > _LONGEST_LINE:
            app = error_page(414, "Request-URI Too Long")
        elif dict(scope["headers"]).get(b"host", b"").partition(b":")[0] not in (*_HOSTS, _here(scope)):
            app = error_page(400, "Bad Request (400)")
        await app(scope, receive, send)

    def _table(self) -> list[Route]:
        lists = [Route(f"/{name}", self._lister(name), methods=_METHODS) for name in ENDPOINTS]
        rows = [Route(f"/{name}/{{key}}", self._reader(name), methods=_METHODS) for name in ENDPOINTS]
        return [
            Route("/", lambda _: redirect(302, "/admin", {"X-Frame-Options": "DENY"}), methods=_METHODS),
            Route("/auth-token", self._login, methods=_METHODS),
            Route("/api/schema", lambda _: openapi(), methods=_METHODS),
            Route("/new-download", self._guarded(POST, {"POST": self._new_download}), methods=_METHODS),
            Route("/cache/info", lambda _: redirect(301, "/cache/info/"), methods=_METHODS),
            Route("/cache/info/", self._guarded(READ, {"GET": self._cache_info}), methods=_METHODS),
            Route("/cache/info/{tag}/", self._guarded(READ, {"GET": self._cache_info}), methods=_METHODS),
            Route("/cache.zip", self._guarded(READ, {"GET": self._cache_zip}), methods=_METHODS),
            *lists,
            *rows,
        ]

    # --- lists and rows -------------------------------------------------------------------------

    def _lister(self, name: str) -> Handler:
        async def show(request: Request) -> Any:
            return self._page(request, ENDPOINTS[name], name)

        return self._guarded(LIST, {"GET": show, "OPTIONS": _options})

    def _reader(self, name: str) -> Handler:
        endpoint = ENDPOINTS[name]

        async def show(request: Request) -> Any:
            return endpoint.show(self._view(request), self._row(request, endpoint))

        async def change(request: Request) -> Any:
            row = actions.patch(self.world, endpoint.model, self._row(request, endpoint), await _body(request))
            return endpoint.show(self._view(request), row)

        guarded = self._guarded(ROW, {"GET": show, "PATCH": change})

        async def serve(request: Request) -> Response:
            if endpoint.key == "id" and not _UUID.fullmatch(request.path_params["key"]):
                return await no_such_page(request, None)
            return await guarded(request)

        return serve

    def _page(self, request: Request, endpoint: Endpoint, name: str) -> dict[str, Any]:
        asked = dict(request.query_params)
        tests = predicates(endpoint.filters, asked, self.world, database(self.world), endpoint.table)
        rows = [row for row in endpoint.rows(self.world) if all(test(row) for test in tests)]
        view = self._view(request)
        shuffle = None if endpoint.ordered else str(self.seed)
        return page(rows, lambda row: endpoint.listed(view, row), asked, f"{view.base}/{name}", shuffle)

    def _row(self, request: Request, endpoint: Endpoint) -> Any:
        key = request.path_params["key"]
        for row in endpoint.rows(self.world):
            if key_of(endpoint, row) == key:
                return row
        raise Refusal(404, f"No {endpoint.model} matches the given query.")

    def _view(self, request: Request) -> View:
        return View(self.world, f"http://{request.headers['Host']}", self.urls, self.keys)

    # --- everything else ------------------------------------------------------------------------

    async def _login(self, request: Request) -> Response:
        headers = {"Allow": POST, "Vary": "Cookie"}
        if request.method != "POST":
            return refused(Refusal(405, f'Method "{request.method}" not allowed.', headers))
        try:
            return as_json(200, {"token": actions.login(self.accounts, await _fields(request))}, headers)
        except Refusal as refusal:
            return refused(refusal, headers)

    async def _new_download(self, request: Request) -> Any:
        user = self.accounts.user(request.headers.get("Authorization"))
        return actions.new_download(self.world, self.downloads, user, await _body(request))

    async def _cache_info(self, request: Request) -> Any:
        tag = request.path_params.get("tag")
        if tag is not None and not re.fullmatch(r"\w+", tag):
            return await no_such_page(request, None)
        return cache.info(self.world, tag)

    async def _cache_zip(self, _request: Request) -> Any:
        return cache.archive(self.world)

    def _guarded(self, allow: str, handlers: Mapping[str, Worker]) -> Handler:
        """Return what a view of Alyx does around its work: format, login, right, patience, then the method."""
        headers = {"Allow": allow, "Vary": "Accept, Cookie"}

        async def work(request: Request) -> Response:
            kind = negotiate(request)
            user = self.accounts.user(request.headers.get("Authorization"))
            if request.url.path != "/new-download":  # the one place where readers may write
                self.accounts.check_right(user, request.method)
            self.throttle.check(user)
            answer = await _chosen(request, handlers)(request)
            if isinstance(answer, Response):
                answer.headers.update(headers)
                return answer
            status = 201 if request.method == "POST" else 200
            return as_json(status, answer, headers) if kind == "application/json" else browsable(answer, headers)

        async def serve(request: Request) -> Response:
            try:
                return await work(request)
            except Refusal as refusal:
                return refused(refusal, headers)
            except BadFilterError as error:
                return refused(Refusal(400, error.args[0]), headers)
            except QueryError as error:
                return as_json(500, {"status_code": 500, "detail": str(error)}, headers)

        return serve


def _chosen(request: Request, handlers: Mapping[str, Worker]) -> Worker:
    method = "GET" if request.method == "HEAD" else request.method
    if method not in handlers:
        raise Refusal(405, f'Method "{request.method}" not allowed.')
    return handlers[method]


async def _options(_request: Request) -> Any:
    raise QueryError("'list' object has no attribute 'items'")


async def _body(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(await request.body())
    except ValueError as error:
        raise Refusal(400, f"JSON parse error - {error}") from None
    if not isinstance(found, dict):
        raise Refusal(400, {"non_field_errors": ["Invalid data. Expected a dictionary."]})
    return found


async def _fields(request: Request) -> dict[str, Any]:
    if request.headers.get("Content-Type", "").startswith("application/json"):
        return await _body(request)
    return {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
