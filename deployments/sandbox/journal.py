"""What the servers were asked: every request, readable while they run."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(slots=True)
class Request:
    """One request, and what became of it.

    Attributes:
        path: Decoded, without the query.
        sent: Bytes of the body that were handed to the connection.
        status: 0 while there is no answer.
    """

    server: str
    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 0
    sent: int = 0


class Journal:
    """Counts requests and bytes; safe to read from any thread.

    Attributes:
        peak: The most requests that were open at once, by server.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self.clear()

    def clear(self) -> None:
        """Forget every request so far."""
        with self._lock:
            self._seen: list[Request] = []
            self.peak: Counter[str] = Counter(self._open)

    @contextmanager
    def record(self, request: Request) -> Iterator[Request]:
        """Keep a request, and count it as open for as long as this lasts."""
        with self._lock:
            self._seen.append(request)
            self._open[request.server] += 1
            self.peak[request.server] = max(self.peak[request.server], self._open[request.server])
        try:
            yield request
        finally:
            with self._lock:
                self._open[request.server] -= 1

    def seen(self, **wanted: object) -> list[Request]:
        """Return the requests, in order, whose fields have these values: ``seen(server="s3", status=404)``."""
        with self._lock:
            rows = list(self._seen)
        return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]

    def count(self, **wanted: object) -> int:
        """Return how many requests have these values."""
        return len(self.seen(**wanted))

    def sent(self, **wanted: object) -> int:
        """Return how many bytes of bodies were sent for the requests that have these values."""
        return sum(row.sent for row in self.seen(**wanted))

    def by_path(self, server: str) -> dict[str, dict[str, int]]:
        """Return requests and bytes for each path of a server."""
        table: dict[str, dict[str, int]] = defaultdict(lambda: {"requests": 0, "bytes": 0})
        for row in self.seen(server=server):
            table[row.path]["requests"] += 1
            table[row.path]["bytes"] += row.sent
        return dict(table)

    def to_json(self) -> list[dict[str, Any]]:
        """Return every request as plain types."""
        return [asdict(row) for row in self.seen()]


class Journalled:
    """An application whose requests are kept in a journal."""

    def __init__(self, app: ASGIApp, server: str, journal: Journal) -> None:
        self._app = app
        self._server = server
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and keep what was asked and answered."""
        request = Request(
            self._server,
            scope["method"],
            unquote(scope["raw_path"].decode("latin-1")),
            scope["query_string"].decode("latin-1"),
            {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        )

        async def keep(message: Message) -> None:
            await send(message)
            request.status = message.get("status", request.status)
            if request.method != "HEAD":
                request.sent += len(message.get("body", b""))

        with self._journal.record(request):
            await self._app(scope, receive, keep)
