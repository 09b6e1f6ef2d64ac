"""What an honest server answers to one request: ranges, validators and errors, in plain HTTP and in S3's dialect."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: S3's code for a status, where an answer names none.
S3_CODES = {
    400: "InvalidRequest",
    401: "AccessDenied",
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    412: "PreconditionFailed",
    416: "InvalidRange",
    429: "TooManyRequests",
    500: "InternalError",
    503: "SlowDown",
}


class End(Enum):
    """What the server does with the connection once it has sent all that it will."""

    KEEP = "keep it for the next request"
    CLOSE = "close it in good order"
    CUT = "close it without TLS's farewell"
    RESET = "reset it"
    HANG = "say nothing more until the server is released"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request and the object that it asks for.

    Attributes:
        target: Path as it was asked, still quoted, bucket included.
        content: The object's bytes; None where there is no such object.
        elsewhere: This server's address under another host name.
        now: The server's clock, seconds since the epoch.
        authorization: Who asks, as its header says it.
        body: What the client sent along.
    """

    method: str
    target: str
    query: str
    range: str | None
    if_range: str | None
    if_match: str | None
    content: bytes | None
    etag: str | None
    modified: str | None
    s3: bool
    elsewhere: str
    now: float
    authorization: str = ""
    body: bytes = b""

    @property
    def size(self) -> int:
        """Bytes of the object."""
        return len(self.content or b"")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer as it goes over the wire.

    Attributes:
        ask: What it answers.
        end: What happens after the last byte that is sent.
        upto: Bytes of the body that are sent; None for all.
        piece: Bytes of one write (and of one chunk, where the body is chunked).
        pause: Seconds between two pieces.
        raw: Sent in place of the status line and the headers.
    """

    ask: Ask
    status: int
    headers: Mapping[str, str]
    body: bytes
    end: End = End.KEEP
    upto: int | None = None
    chunked: bool = False
    piece: int = 1 << 18
    pause: float = 0.0
    raw: bytes | None = None

    def with_headers(self, **values: str | None) -> Reply:
        """Set headers (`Content_Range` is `Content-Range`); None takes one away."""
        named = {name.replace("_", "-"): value for name, value in values.items()}
        kept = {name: value for name, value in self.headers.items() if name not in named}
        return replace(self, headers=kept | {name: value for name, value in named.items() if value is not None})

    def without_body(self) -> Reply:
        """Return the answer to the same request with HEAD."""
        end = self.end if self.raw is not None else End.KEEP
        return replace(self, body=b"", upto=None, chunked=False, end=end)

    def head(self) -> bytes:
        """Return status line and headers."""
        if self.raw is not None:
            return self.raw
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def pieces(self) -> Iterator[memoryview]:
        """Yield the body bytes that are sent, piece by piece."""
        body = memoryview(self.body)[: self.upto]
        for start in range(0, len(body), self.piece):
            yield body[start : start + self.piece]

    @property
    def is_whole(self) -> bool:
        """Whether all of the body is sent."""
        return self.upto is None or self.upto >= len(self.body)


def honest(ask: Ask) -> Reply:
    """Answer as a good server does: 200, 206, 404, 412 or 416."""
    if ask.content is None:
        return failure(ask, 404)
    if ask.if_match not in (None, "*", ask.etag):
        return failure(ask, 412)
    span = asked_span(ask)
    if span is None:
        return whole(ask)
    if not span:
        return failure(ask, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    part = _data(ask, 206, ask.content[span.start : span.stop])
    return part.with_headers(Content_Range=f"bytes {span.start}-{span.stop - 1}/{ask.size}")


def whole(ask: Ask) -> Reply:
    """Answer 200 with the whole object."""
    return _data(ask, 200, ask.content or b"")


def asked_span(ask: Ask) -> range | None:
    """Return the bytes asked for: None for the whole object, an empty span where there are no such bytes."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", ask.range or "")
    if not asked or not any(asked.groups()) or not _still_same(ask):
        return None
    first, last = asked.groups()
    if not first:
        return range(max(0, ask.size - int(last)), ask.size)
    return range(int(first), min(ask.size, int(last) + 1 if last else ask.size))


def _still_same(ask: Ask) -> bool:
    """Whether If-Range holds; a weak validator never does (RFC 9110, 13.1.5)."""
    strong = ask.etag if ask.etag and not ask.etag.startswith("W/") else None
    return ask.if_range is None or ask.if_range in (strong, ask.modified)


def failure(ask: Ask, status: int, code: str = "") -> Reply:
    """Answer an error: S3's XML where S3 was asked, else a small web page."""
    text, content_type = _s3_error(ask, code or S3_CODES.get(status, "InternalError")) if ask.s3 else _page(status)
    unsatisfied = f"bytes */{ask.size}" if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE else None
    challenge = 'Basic realm="sandbox"' if status == HTTPStatus.UNAUTHORIZED else None
    reply = document(ask, text, content_type, status)
    return reply.with_headers(Content_Range=unsatisfied, WWW_Authenticate=challenge)


def document(ask: Ask, text: str, content_type: str, status: int = 200) -> Reply:
    """Answer a text that is not the object."""
    return _framed(ask, status, text.encode()).with_headers(Content_Type=content_type)


def _s3_error(ask: Ask, code: str) -> tuple[str, str]:
    error = f"<Error><Code>{code}</Code><Message>{code}</Message><Resource>{escape(ask.target)}</Resource></Error>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{error}', "application/xml"


def _page(status: int) -> tuple[str, str]:
    title = f"{status} {HTTPStatus(status).phrase}"
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>", "text/html"


def _data(ask: Ask, status: int, body: bytes) -> Reply:
    reply = _framed(ask, status, body).with_headers(Content_Type="application/octet-stream", Accept_Ranges="bytes")
    return reply.with_headers(ETag=ask.etag, Last_Modified=ask.modified)


def _framed(ask: Ask, status: int, body: bytes) -> Reply:
    return Reply(ask, status, {"Date": formatdate(ask.now, usegmt=True), "Content-Length": str(len(body))}, body)
