"""The words that a script of faults is written in.

A script is a list of answers: the n-th request for an object gets the n-th answer, and the last one repeats.
Each answer alters one thing of what an honest server does, and answers add up, left to right:
`[IgnoreRange() + Drop(0.5), Good()]`. Here is what is answered; `breaks` has how an answer breaks on its way.

A place is an `int` for bytes (negative: from the end) or a `float` for a fraction of the object's size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from email.utils import formatdate

from deployments.sandbox.faults.replies import Ask, Reply, asked_span, document, failure, honest, whole

Place = int | float

LOGIN = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form><input name=user></form></body></html>"


def reply_to(ask: Ask, answer: Answer) -> Reply:
    """Return what a server whose next answer is `answer` sends to a request."""
    ask = answer.before(ask)
    reply = answer.after(honest(ask))
    return reply.without_body() if ask.method == "HEAD" else reply


def byte_at(place: Place, size: int) -> int:
    """Return the byte that a place means in an object of `size` bytes."""
    if isinstance(place, float):
        return math.ceil(place * size)
    return place if place >= 0 else max(0, size + place)


class Answer:
    """What a server does with one request; as it stands, the honest thing."""

    def before(self, ask: Ask) -> Ask:
        """Alter what the server takes the request or the object for."""
        return ask

    def after(self, reply: Reply) -> Reply:
        """Alter what the server sends."""
        return reply

    def __add__(self, other: Answer) -> Answer:
        return Both(self, other)


@dataclass(frozen=True, slots=True)
class Good(Answer):
    """The honest answer."""


@dataclass(frozen=True, slots=True)
class Both(Answer):
    """One answer's fault, then another's, on the same request."""

    first: Answer
    second: Answer

    def before(self, ask: Ask) -> Ask:
        return self.second.before(self.first.before(ask))

    def after(self, reply: Reply) -> Reply:
        return self.second.after(self.first.after(reply))


# --- another answer ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status(Answer):
    """An error status.

    Attributes:
        code: S3's code, where S3 is asked; the usual one of the status where empty.
        retry_after: Text of the Retry-After header.
        retry_in: Seconds from the server's now, sent as a Retry-After date.
    """

    status: int
    code: str = ""
    retry_after: str | None = None
    retry_in: float | None = None

    def after(self, reply: Reply) -> Reply:
        date = None if self.retry_in is None else formatdate(reply.ask.now + self.retry_in, usegmt=True)
        return failure(reply.ask, self.status, self.code).with_headers(Retry_After=self.retry_after or date)


@dataclass(frozen=True, slots=True)
class NoHead(Answer):
    """HEAD is not allowed (405); the rest is honest."""

    def after(self, reply: Reply) -> Reply:
        return failure(reply.ask, 405).with_headers(Allow="GET") if reply.ask.method == "HEAD" else reply


@dataclass(frozen=True, slots=True)
class Html(Answer):
    """A web page with status 200, under any content type.

    Attributes:
        padded: The page has exactly as many bytes as the object.
    """

    content_type: str = "text/html"
    padded: bool = False

    def after(self, reply: Reply) -> Reply:
        size = reply.ask.size if self.padded else len(LOGIN)
        return document(reply.ask, LOGIN.ljust(size)[:size], self.content_type)


@dataclass(frozen=True, slots=True)
class Redirect(Answer):
    """A redirect to an address, absolute or relative; `?again` leads back here, for ever."""

    location: str
    status: int = 302

    def after(self, reply: Reply) -> Reply:
        return failure(reply.ask, self.status).with_headers(Location=self.location)


@dataclass(frozen=True, slots=True)
class Login(Answer):
    """A redirect to a login page, which says 200."""

    def after(self, reply: Reply) -> Reply:
        page = Html() if "login" in reply.ask.query else Redirect("?login")
        return page.after(reply)


@dataclass(frozen=True, slots=True)
class Moved(Answer):
    """A redirect to the same object under another host name, where the answer is honest."""

    def after(self, reply: Reply) -> Reply:
        if "moved" in reply.ask.query:
            return reply
        return Redirect(f"{reply.ask.elsewhere}{reply.ask.target}?moved").after(reply)


# --- another object ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flip(Answer):
    """One bit of the object is flipped; the headers do not show it."""

    place: Place = 0.5

    def before(self, ask: Ask) -> Ask:
        if not ask.content:
            return ask
        content = bytearray(ask.content)
        content[min(byte_at(self.place, ask.size), ask.size - 1)] ^= 1
        return replace(ask, content=bytes(content))


@dataclass(frozen=True, slots=True)
class Sized(Answer):
    """The object is cut or filled up to another size; all headers agree with it."""

    place: Place

    def before(self, ask: Ask) -> Ask:
        size = byte_at(self.place, ask.size)
        return replace(ask, content=(ask.content or b"")[:size].ljust(size, b"\0"))


@dataclass(frozen=True, slots=True)
class Other(Answer):
    """Another object of the same size stands there, with validators of its own."""

    def before(self, ask: Ask) -> Ask:
        content = bytes(255 - byte for byte in ask.content or b"")
        return replace(ask, content=content, etag='"another"', modified="Wed, 21 Oct 2015 07:28:00 GMT")


@dataclass(frozen=True, slots=True)
class Validators(Answer):
    """The object's ETag and Last-Modified are these; None leaves one out."""

    etag: str | None = None
    modified: str | None = None

    def before(self, ask: Ask) -> Ask:
        return replace(ask, etag=self.etag, modified=self.modified)


# --- ranges --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IgnoreRange(Answer):
    """Range is not looked at: 200 and the whole object."""

    def before(self, ask: Ask) -> Ask:
        return replace(ask, range=None)


@dataclass(frozen=True, slots=True)
class IgnoreConditions(Answer):
    """If-Range and If-Match are not looked at."""

    def before(self, ask: Ask) -> Ask:
        return replace(ask, if_range=None, if_match=None)


@dataclass(frozen=True, slots=True)
class WrongRange(Answer):
    """206 with the bytes, and the Content-Range, of a place some bytes off the one asked for."""

    by: int = 1

    def after(self, reply: Reply) -> Reply:
        span = asked_span(reply.ask)
        if not span:
            return reply
        beside = honest(replace(reply.ask, range=f"bytes={span.start + self.by}-{span.stop - 1}"))
        return replace(reply, status=beside.status, headers=beside.headers, body=beside.body)


@dataclass(frozen=True, slots=True)
class WrongBody(Answer):
    """206 with the right Content-Range over the object's first bytes."""

    def after(self, reply: Reply) -> Reply:
        if not asked_span(reply.ask):
            return reply
        return replace(reply, body=whole(reply.ask).body[: len(reply.body)])
