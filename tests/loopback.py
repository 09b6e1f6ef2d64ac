"""An HTTP server on loopback that answers as a test says, and a clock that waits for nobody."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tasks.alyx import AlyxClient
from tasks.clients.seams import Pace
from tasks.clients.verdicts import DownloadError
from tasks.rest.credentials import Credentials
from tasks.rest.throttle import Throttle

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Reply:
    """What to answer; `length` lies about the size of the body, and the connection ends after it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None

    @classmethod
    def of(cls, content: Any, status: int = 200, **headers: str) -> Reply:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(content).encode(), {"Content-Type": "application/json", **names})

    @classmethod
    def page(cls, status: int, title: str) -> Reply:
        html = f"<!doctype html><html><head><title>{title}</title></head></html>"
        return cls(status, html.encode(), {"Content-Type": "text/html; charset=utf-8"})


@dataclass
class Server:
    """Where it listens, and what it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.asked]


@contextmanager
def serve(app: Callable[[Asked], Reply], tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve `app` on a free port of 127.0.0.1."""
    listener = _Listener(("127.0.0.1", 0), _Handler)
    listener.server = Server(f"{'https' if tls else 'http'}://127.0.0.1:{listener.server_port}")
    listener.app = app
    if tls:
        listener.socket = tls.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield listener.server
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    server: Server
    app: Callable[[Asked], Reply]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that leave are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        asked = Asked(self.command, parts.path, query, dict(self.headers), body)
        self.server.server.asked.append(asked)
        self._answer(self.server.app(asked))

    def _answer(self, reply: Reply) -> None:
        (self.send_response_only if "Date" in reply.headers else self.send_response)(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body) if reply.length is None else reply.length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()
        self.close_connection = self.close_connection or reply.length is not None

    def log_message(self, *_: Any) -> None:
        pass


class Clock(Pace):
    """Waits by moving its own hands; its dice always show the highest number."""

    def __init__(self, stop: threading.Event | None = None) -> None:
        super().__init__(stop)
        self.time = 1_800_000_000.0
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def uniform(self, low: float, high: float) -> float:
        return max(low, high)

    def wait(self, seconds: float) -> None:
        self.check()
        self.waits.append(seconds)
        self.time += seconds


def client_of(url: str, *, clock: Clock | None = None, **credentials: Any) -> AlyxClient:
    """A client that waits for nobody; logged in, where nothing else is said."""
    clock = clock or Clock()
    login = Credentials(url, **(credentials or {"user": "alice", "token": "0123456789abcdef"}))
    return AlyxClient(credentials=login, pace=clock, throttle=Throttle(clock))


def answering(*replies: Reply) -> Callable[[Asked], Reply]:
    """Each reply once, the last one for ever."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


USER, PASSWORD, OLD_TOKEN, NEW_TOKEN = "alice", "correct horse", "0" * 40, "1" * 40
INVALID_TOKEN = Reply.of({"detail": "Invalid token.", "status_code": 403}, 403)


def guarded(asked: Asked) -> Reply:
    """An Alyx that takes one password and one token, and answers everything with its own path."""
    if asked.path == "/auth-token":
        good = asked.body == "username=alice&password=correct+horse"
        return Reply.of({"token": NEW_TOKEN}) if good else Reply.of({"non_field_errors": ["Unable to log in"]}, 400)
    good = asked.headers.get("Authorization") == f"Token {NEW_TOKEN}"
    return Reply.of({"name": asked.path}) if good else INVALID_TOKEN


def code_of(call: Callable[[], Any]) -> str:
    """The row of the error that a call ends in."""
    with pytest.raises(DownloadError) as caught:
        call()
    assert caught.value.next_step
    return caught.value.code
