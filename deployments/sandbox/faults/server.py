"""A server that misbehaves on demand: plain HTTP, and S3 by path, on one port, with or without TLS."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, unquote

from deployments.sandbox.faults.answers import Answer, Good, reply_to
from deployments.sandbox.faults.gates import Gate, Hit
from deployments.sandbox.faults.listener import HOST, Door, Listener
from deployments.sandbox.faults.replies import Ask, Reply
from deployments.sandbox.faults.tls import Tls, server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence
    from email.message import Message

    from deployments.sandbox.faults.catalogue import Fault

BUCKET = "sandbox"
_MODIFIED = formatdate(1_700_000_000, usegmt=True)


@dataclass(slots=True)
class _Object:
    content: bytes
    script: Sequence[Answer]
    etag: str
    asked: int = 0

    def next_answer(self, method: str) -> Answer:
        """Return the next answer; HEAD only looks at it, and leaves it to the next GET."""
        answer = self.script[min(self.asked, len(self.script) - 1)]
        self.asked += method != "HEAD"
        return answer


class FaultServer:
    """Objects, each with its script of faults; it listens from its making until it is closed.

    Every request is written down before it is answered, and every body byte before it is sent, so a client
    that has its bytes finds them counted.

    Args:
        tls: Serve TLS with this kind of certificate; `ca_file` is what a client is to trust.
        port: 0 takes a free one.
        clock: Seconds, for the times of arrival.
        now: Seconds since the epoch, for dates in headers.
        wait: Waits between two drips, so many seconds; true ends the answer. By default `release` ends it.
        log: Told one line a request.

    Attributes:
        doors: What connections meet: the n-th meets the n-th, the last one repeats.
        gate: Looks at every request before its object does.
        stalling: Set as soon as a client is left waiting.
    """

    def __init__(
        self,
        *,
        tls: Tls | None = None,
        port: int = 0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        wait: Callable[[float], bool] | None = None,
        log: Callable[[str], object] | None = None,
    ) -> None:
        self.doors: Sequence[Door] = (Door.OPEN,)
        self.gate: Gate | None = None
        self.stalling = threading.Event()
        self.released = threading.Event()
        self._clock, self._now, self._wait, self._log = clock, now, wait, log
        self._lock = threading.Lock()
        self._objects: dict[str, _Object] = {}
        self._hits: list[Hit] = []
        self._directory = TemporaryDirectory(prefix="faults-")
        self.context: ssl.SSLContext | None = None
        self.ca_file: Path | None = None
        if tls:
            self.context, self.ca_file = server_context(Path(self._directory.name), tls)
        self._listener = Listener(self, port)
        self.port: int = self._listener.server_address[1]
        self.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what it serves ---------------------------------------------------------------------------

    def put(self, path: str, content: bytes, script: Sequence[Answer] = (Good(),)) -> str:
        """Serve an object over HTTP and S3, and return its HTTP address.

        An object that stood there is replaced, and its script starts anew; what was counted stays.
        """
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        with self._lock:
            self._objects["/" + path.lstrip("/")] = _Object(content, script, etag)
        return self.url(path)

    def play(self, fault: Fault, path: str, content: bytes) -> str:
        """Serve an object with a fault of the catalogue, doors and gate included; return its HTTP address."""
        self.doors, self.gate = fault.doors, fault.gate
        return self.put(path, content, fault.script)

    def url(self, path: str) -> str:
        """The address over HTTP."""
        return f"{self.endpoint}/{quote(path.lstrip('/'))}"

    def s3_url(self, path: str) -> str:
        """The address over S3, by path; a signature in the query is not looked at."""
        return f"{self.endpoint}/{BUCKET}/{quote(path.lstrip('/'))}"

    @property
    def endpoint(self) -> str:
        """The server itself: boto3's `endpoint_url`."""
        return self._address(HOST)

    # --- what it saw ------------------------------------------------------------------------------

    def hits(self, path: str | None = None, method: str | None = None) -> list[Hit]:
        """Return the requests so far, in the order they came: of one object and one method, or all."""
        with self._lock:
            hits = list(self._hits)
        wanted = None if path is None else "/" + path.lstrip("/")
        return [hit for hit in hits if wanted in (None, hit.path) and method in (None, hit.method)]

    def sent(self, path: str | None = None) -> int:
        """Return the body bytes sent so far, of one object or of all."""
        return sum(hit.sent for hit in self.hits(path))

    @property
    def connections(self) -> int:
        """Connections accepted so far."""
        return self._listener.accepted

    # --- what it does -----------------------------------------------------------------------------

    def open(self) -> None:
        """Listen again after :meth:`shut`."""
        self._listener.start()

    def shut(self) -> None:
        """Refuse connections and break those that are open, as a server that is down; the port is kept."""
        self._listener.stop()
        self._listener = Listener(self, self.port, self.connections)

    def rewind(self) -> None:
        """Start every script anew."""
        with self._lock:
            for thing in self._objects.values():
                thing.asked = 0

    def release(self) -> None:
        """End every stall and every drip, from now on: their connections are closed."""
        self.released.set()

    def close(self) -> None:
        """End all that is going on: no connection and no file is left."""
        self.release()
        self._listener.stop()
        self._directory.cleanup()

    # --- what its sockets ask ---------------------------------------------------------------------

    def door(self, connection: int) -> Door:
        """Return what the n-th connection meets."""
        return self.doors[min(connection, len(self.doors)) - 1]

    def answer(self, method: str, target: str, headers: Message, connection: int, body: bytes) -> tuple[Hit, Reply]:
        """Write a request down and return its answer."""
        raw, _, query = target.partition("?")
        path = unquote(raw)
        s3 = path.startswith(f"/{BUCKET}/")
        path = path.removeprefix(f"/{BUCKET}") if s3 else path
        with self._lock:
            hit = Hit(method, path, query, headers, self._clock(), connection, s3, body)
            self._hits.append(hit)
            thing = self._objects.get(path)
            answer = self._pick(hit, thing)
        reply = reply_to(self._ask(hit, raw, thing), answer)
        hit.status = reply.status
        if self._log:
            self._log(f"{method} {target} {headers.get('Range', '')} -> {reply.status}")
        return hit, reply

    def stall(self) -> None:
        """Return when the server is released."""
        self.stalling.set()
        self.released.wait()

    def wait(self, seconds: float) -> bool:
        """Wait between two drips; true ends the answer."""
        self.stalling.set()
        return (self._wait or self.released.wait)(seconds)

    def _pick(self, hit: Hit, thing: _Object | None) -> Answer:
        held = self.gate.answer(self._hits) if self.gate else None
        hit.held = held is not None
        if held is not None:
            return held
        return thing.next_answer(hit.method) if thing else Good()

    def _ask(self, hit: Hit, target: str, thing: _Object | None) -> Ask:
        return Ask(
            method=hit.method,
            target=target,
            query=hit.query,
            range=hit.headers.get("Range"),
            if_range=hit.headers.get("If-Range"),
            if_match=hit.headers.get("If-Match"),
            content=thing.content if thing else None,
            etag=thing.etag if thing else None,
            modified=_MODIFIED,
            s3=hit.s3,
            elsewhere=self._address("localhost"),
            now=self._now(),
            authorization=hit.headers.get("Authorization", ""),
            body=hit.body,
        )

    def _address(self, host: str) -> str:
        return f"{'https' if self.context else 'http'}://{host}:{self.port}"
