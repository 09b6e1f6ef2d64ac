"""Answers that break on their way: connections that end, stall or drip, and bodies framed wrongly."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, replace
from typing import ClassVar

from deployments.sandbox.faults.answers import Answer, Place, byte_at
from deployments.sandbox.faults.replies import End, Reply

# --- the connection ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Ends(Answer):
    """The body ends after exactly so many bytes of this answer, or with it, if it is shorter."""

    place: Place
    end: ClassVar[End]

    def after(self, reply: Reply) -> Reply:
        return replace(reply, upto=byte_at(self.place, reply.ask.size), end=self.end)


class Drop(_Ends):
    """The connection is reset (RST) in mid-body."""

    end = End.RESET


class Cut(_Ends):
    """The connection is closed in mid-body (FIN; over TLS without its farewell)."""

    end = End.CUT


class Stall(_Ends):
    """The server falls silent in mid-body, and keeps the connection."""

    end = End.HANG


@dataclass(frozen=True, slots=True)
class Silent(Answer):
    """The request is read and never answered."""

    def after(self, reply: Reply) -> Reply:
        return replace(reply, raw=b"", body=b"", end=End.HANG)


@dataclass(frozen=True, slots=True)
class Garbage(Answer):
    """Bytes that are not HTTP, then the connection is closed; with no bytes, it is closed without an answer."""

    data: bytes = b"\x00\xffSSH-2.0-OpenSSH_9.6\r\n"

    def after(self, reply: Reply) -> Reply:
        return replace(reply, raw=self.data, body=b"", end=End.CUT)


@dataclass(frozen=True, slots=True)
class HangUp(Answer):
    """The whole answer, promising to keep the connection; then it is closed before the next request."""

    def after(self, reply: Reply) -> Reply:
        return replace(reply, end=End.CLOSE)


@dataclass(frozen=True, slots=True)
class Drip(Answer):
    """A few bytes, a pause, a few bytes."""

    piece: int = 3
    pause: float = 1.0

    def after(self, reply: Reply) -> Reply:
        return replace(reply, piece=self.piece, pause=self.pause)


# --- framing -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Header(Answer):
    """One header has this value; None leaves it out."""

    name: str
    value: str | None

    def after(self, reply: Reply) -> Reply:
        return reply.with_headers(**{self.name: self.value})


@dataclass(frozen=True, slots=True)
class NoLength(Answer):
    """No Content-Length: the body ends where the connection does."""

    def after(self, reply: Reply) -> Reply:
        return replace(reply.with_headers(Content_Length=None, Connection="close"), end=End.CLOSE)


@dataclass(frozen=True, slots=True)
class Chunked(Answer):
    """Transfer-Encoding chunked, without Content-Length."""

    def after(self, reply: Reply) -> Reply:
        return replace(reply.with_headers(Content_Length=None, Transfer_Encoding="chunked"), chunked=True)


@dataclass(frozen=True, slots=True)
class TooLong(Answer):
    """More body bytes than Content-Length announces."""

    surplus: int = 1024

    def after(self, reply: Reply) -> Reply:
        return replace(reply, body=reply.body + b"\0" * self.surplus)


@dataclass(frozen=True, slots=True)
class Gzip(Answer):
    """The body is compressed, whatever the client accepts."""

    def after(self, reply: Reply) -> Reply:
        body = gzip.compress(reply.body, compresslevel=1)
        return replace(reply, body=body).with_headers(Content_Encoding="gzip", Content_Length=str(len(body)))
