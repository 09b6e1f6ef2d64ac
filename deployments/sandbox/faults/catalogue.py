"""Every fault by its name: the eleven rows of the matrix in `MATRIX`, and all others beside them in `CATALOGUE`.

A test drives a client through all of it: `for name, fault in CATALOGUE.items()`, over each protocol, with
`FaultServer(tls=fault.tls)` and `server.play(fault, path, content)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from deployments.sandbox.faults.answers import (
    Answer,
    Flip,
    Good,
    Html,
    IgnoreConditions,
    IgnoreRange,
    Login,
    Moved,
    NoHead,
    Other,
    Redirect,
    Sized,
    Status,
    Validators,
    WrongBody,
    WrongRange,
)
from deployments.sandbox.faults.breaks import (
    Chunked,
    Cut,
    Drip,
    Drop,
    Garbage,
    Gzip,
    HangUp,
    Header,
    NoLength,
    Silent,
    Stall,
    TooLong,
)
from deployments.sandbox.faults.gates import AtMost, Expire, Gate
from deployments.sandbox.faults.listener import Door
from deployments.sandbox.faults.tls import Tls


class Expect(Enum):
    """How a good client ends."""

    RIGHT = "the right file under its final name"
    ERROR = "an error, and nothing under the final name"
    EITHER = "the right file, or an error and nothing under the final name"


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to misbehave, and what a good client makes of it.

    Attributes:
        script: The n-th request gets the n-th answer, the last one repeats.
        ratio: Largest share of the size of a file (64 KiB or more) that a good client makes the server send.
        requests: Largest number of GETs of a good client, where asking again is a fault of its own.
        doors: What connections meet, in their order.
        gate: Looks at every request before the script does.
        tls: Certificate of the server; None for plain HTTP.
        needs: What the test has to do itself, since no script can.
    """

    about: str
    script: tuple[Answer, ...]
    expect: Expect
    ratio: float
    requests: int | None = None
    doors: tuple[Door, ...] = (Door.OPEN,)
    gate: Gate | None = None
    tls: Tls | None = None
    needs: str = ""


def _fault(expect: Expect, ratio: float, about: str, *script: Answer, **more: Any) -> Fault:
    return Fault(about, script or (Good(),), expect, ratio, **more)


_right = partial(_fault, Expect.RIGHT)
_error = partial(_fault, Expect.ERROR)
_either = partial(_fault, Expect.EITHER)

# What the shares allow: the bytes once, twice, or once and a half, and a fiftieth for pages and overlaps.
_NONE, _ONCE, _TWICE, _HALF_MORE, _QUARTERS, _RANGELESS, _FIVEFOLD = 0.02, 1.02, 2.02, 1.52, 1.05, 1.6, 5.02

_DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
_PAST = "Wed, 21 Oct 2015 07:28:00 GMT"
_WEAK, _SAME, _BARE = Validators('W/"1"', _DATE), Validators('"same"', _DATE), Validators()
_DATED = Validators(None, _DATE)

#: The eleven rows of the matrix that peers are measured with, by the names of its table.
MATRIX: dict[str, Fault] = {
    "none": _right(_ONCE, "An honest server."),
    "drop at 50 %, once": _right(_ONCE, "The connection is reset half-way; the next one is good.", Drop(0.5), Good()),
    "drops after every ¼ (only resume can finish)": _right(
        _QUARTERS, "Every connection is reset after a quarter of the file.", Drop(0.25)
    ),
    "drop, then Range ignored (200)": _right(
        _RANGELESS, "After a reset the server knows no Range any more.", Drop(0.5), IgnoreRange()
    ),
    "server sends half with matching Content-Length": _error(
        _ONCE, "Half the file, with headers that agree with it.", Sized(0.5)
    ),
    "bit flipped once, then good": _right(_TWICE, "One bit is wrong the first time.", Flip(), Good()),
    "bit flipped always": _error(_TWICE, "One bit is wrong every time.", Flip()),
    "200 + HTML error page": _error(_NONE, "A web page instead of the data.", Html()),
    "503 ×2 with Retry-After": _right(  # noqa: RUF001  (the table's own name)
        _ONCE,
        "Overloaded twice, then good.",
        Status(503, retry_after="1"),
        Status(503, retry_after="1"),
        Good(),
        requests=3,
    ),
    "404": _error(_NONE, "No such file: to be asked once.", Status(404), requests=1),
    "stall at 50 %": _right(_ONCE, "Silence half-way; the next connection is good.", Stall(0.5), Good()),
}

_CONNECTION = {
    "reset at byte 0": _right(_ONCE, "Headers, then a reset.", Drop(0), Good()),
    "reset at byte 1": _right(_ONCE, "One byte, then a reset.", Drop(1), Good()),
    "reset before the last byte": _right(_ONCE, "All bytes but one, then a reset.", Drop(-1), Good()),
    "reset after the last byte": _right(_ONCE, "All bytes, then a reset.", Drop(1.0), Good()),
    "closed at 50 %, once": _right(_ONCE, "The connection ends half-way, in good order.", Cut(0.5), Good()),
    "stall for ever": _error(_NONE, "Headers, and never a byte.", Stall(0)),
    "silent before the headers, once": _right(_ONCE, "The request is read and not answered.", Silent(), Good()),
    "accepted, then nothing, once": _right(
        _ONCE, "A connection on which nothing is ever said.", doors=(Door.SILENT, Door.OPEN)
    ),
    "reset when accepted, once": _right(_ONCE, "A connection that is reset at once.", doors=(Door.RESET, Door.OPEN)),
    "closed instead of an answer, once": _right(_ONCE, "The request is read, the door shut.", Garbage(b""), Good()),
    "closed between two requests": _right(_ONCE, "Keep-alive is promised and not kept.", HangUp()),
    "drips a few bytes a second, once": _right(_ONCE, "Three bytes a second; then good.", Drip(), Good()),
    "drips a few bytes a second": _error(_NONE, "Three bytes a second, every time: progress that is none.", Drip()),
    "connection refused, then open": _right(
        _ONCE, "The port is closed for a while.", needs="server.shut() before, server.open() in the client's wait"
    ),
    "name gone, then back": _right(
        _ONCE, "The host name does not resolve for a while.", needs="a host under .invalid, then libcurl's RESOLVE"
    ),
}

_TLS = {
    "TLS cut at 50 %, once": _right(_ONCE, "TLS ends half-way without farewell.", Cut(0.5), Good(), tls=Tls.TRUSTED),
    "TLS cut at 50 %, no Content-Length, once": _right(
        _ONCE, "Only TLS's missing farewell tells that bytes are.", NoLength() + Cut(0.5), Good(), tls=Tls.TRUSTED
    ),
    "TLS cut in the handshake, once": _right(
        _ONCE, "TLS ends before it begins.", doors=(Door.CUT, Door.OPEN), tls=Tls.TRUSTED
    ),
    "TLS silent in the handshake, once": _right(
        _ONCE, "TLS never begins.", doors=(Door.SILENT, Door.OPEN), tls=Tls.TRUSTED
    ),
    "certificate nobody knows": _error(_NONE, Tls.UNTRUSTED.value, tls=Tls.UNTRUSTED),
    "certificate that ended": _error(_NONE, Tls.EXPIRED.value, tls=Tls.EXPIRED),
    "certificate of another host": _error(_NONE, Tls.OTHER_HOST.value, tls=Tls.OTHER_HOST),
}

_FRAMING = {
    "chunked": _right(_ONCE, "No Content-Length, but chunks.", Chunked()),
    "chunked and cut, once": _right(_ONCE, "The chunks end half-way.", Chunked() + Cut(0.5), Good()),
    "no Content-Length": _right(_ONCE, "The body ends with the connection.", NoLength()),
    "no Content-Length and cut, once": _right(_ONCE, "The connection ends half-way.", NoLength() + Cut(0.5), Good()),
    "longer than announced": _right(_ONCE, "More bytes than Content-Length says.", TooLong()),
    "gzip unasked": _either(_TWICE, "The body is compressed, whatever was accepted.", Gzip()),
    "drop, then gzip": _either(_TWICE, "What is left comes compressed.", Drop(0.5), Gzip()),
    "gzip that is none": _either(
        _TWICE, "The headers say gzip, the bytes are plain.", Header("Content-Encoding", "gzip")
    ),
    "garbage instead of HTTP, once": _right(_ONCE, "Another protocol's greeting; then good.", Garbage(), Good()),
    "garbage instead of HTTP": _error(_NONE, "Another protocol's greeting, every time.", Garbage()),
    "header of 1 MB": _either(_FIVEFOLD, "One header is a megabyte long.", Header("X-Fill", "x" * (1 << 20))),
}

_OBJECT = {
    "HTML as binary data": _error(_NONE, "A web page that calls itself data.", Html("application/octet-stream")),
    "HTML of the right length": _error(_TWICE, "A web page with the file's size.", Html(padded=True)),
    "HTML as binary data of the right length": _error(
        _TWICE, "A web page with the file's size and type.", Html("application/octet-stream", padded=True)
    ),
    "drop, then HTML": _error(_HALF_MORE, "Half the file, then a web page for ever.", Drop(0.5), Html()),
    "larger than registered": _error(_RANGELESS, "The file has grown by half.", Sized(1.5)),
    "empty": _error(_NONE, "No bytes, and no error.", Sized(0)),
    "ETag changed between two attempts": _right(
        _HALF_MORE, "The same bytes under a new ETag.", Drop(0.5), Validators('"changed"', _DATE)
    ),
    "replaced by the right file in mid-file": _right(
        _HALF_MORE, "Half of another file, then the right one.", Other() + Drop(0.5), Good()
    ),
    "replaced by the right file, If-Range ignored": _right(
        _TWICE, "The new file's second half, under its own ETag.", Other() + Drop(0.5), IgnoreConditions()
    ),
    "replaced by the right file behind one ETag": _right(
        _TWICE, "Only the digest tells.", Other() + _SAME + Drop(0.5), _SAME
    ),
    "replaced by another file in mid-file": _error(_HALF_MORE + 1, "Half the file, then another.", Drop(0.5), Other()),
    "weak ETag": _right(_HALF_MORE, "An ETag that If-Range may not use.", _WEAK + Drop(0.5), _WEAK),
    "Last-Modified only": _right(_HALF_MORE, "No ETag, but a date.", _DATED + Drop(0.5), _DATED),
    "neither ETag nor Last-Modified": _right(_HALF_MORE, "No validator at all.", _BARE + Drop(0.5), _BARE),
}

_RANGE = {
    "206 of another range, once": _right(_TWICE, "Content-Range is one byte off.", Drop(0.5), WrongRange(), Good()),
    "206 without Content-Range, once": _right(
        _TWICE, "Nobody knows which bytes.", Drop(0.5), Header("Content-Range", None), Good()
    ),
    "206 with the wrong bytes, once": _right(
        _TWICE, "Content-Range is right, the bytes are not.", Drop(0.5), WrongBody(), Good()
    ),
    "416 to a good Range, once": _right(_HALF_MORE, "The range is refused.", Drop(0.5), Status(416), Good()),
    "HEAD not allowed": _right(_ONCE, "405 to every HEAD.", NoHead()),
    "the partial is whole already": _right(_NONE, "There is nothing left to ask.", needs="a partial of the whole file"),
    "the partial is longer than the file": _right(
        _ONCE, "416 to what is asked.", needs="a partial with bytes to spare"
    ),
}

_STATUS = {
    "400": _error(_NONE, "A request that cannot be served.", Status(400), requests=1),
    "401": _error(_NONE, "Credentials are asked for.", Status(401), requests=1),
    "403": _error(_NONE, "This file is forbidden.", Status(403), requests=1),
    "403 at the resume": _error(_ONCE, "Half the file, then forbidden.", Drop(0.5), Status(403), requests=2),
    "404 at the resume": _error(_ONCE, "Half the file, then gone.", Drop(0.5), Status(404), requests=2),
    "500, once": _right(_ONCE, "The server fails once.", Status(500), Good(), requests=2),
    "500": _error(_NONE, "The server fails every time.", Status(500)),
    "503": _error(_NONE, "Overloaded for ever.", Status(503, retry_after="1")),
    "429, once": _right(_ONCE, "Too many requests, once.", Status(429, retry_after="1"), Good(), requests=2),
    "429 storm": _right(_ONCE, "Five requests a second are let in, of all files.", gate=AtMost(5, 1.0)),
    "Retry-After as a date": _right(_ONCE, "Two seconds from now.", Status(503, retry_in=2.0), Good()),
    "Retry-After in the past": _right(_ONCE, "A date long gone.", Status(503, retry_after=_PAST), Good()),
    "Retry-After of 10⁹ seconds": _either(_ONCE, "31 years.", Status(503, retry_after="1000000000"), Good()),
    "Retry-After that says nothing": _right(
        _ONCE, "Neither seconds nor date.", Status(503, retry_after="soon"), Good()
    ),
    "redirect to another host": _right(_ONCE, "Credentials must not follow.", Moved()),
    "redirect to a login page": _error(_NONE, "302, then a web page.", Login()),
    "redirect for ever": _error(_NONE, "302 to itself.", Redirect("?again")),
    "credentials expire in mid-run": _error(
        _ONCE, "403 from the second request on, until they are new.", Drop(0.5), Good(), gate=Expire(1)
    ),
    "S3 ExpiredToken": _error(_NONE, "A session token has ended.", Status(400, "ExpiredToken"), requests=1),
    "S3 RequestTimeTooSkewed": _error(_NONE, "A clock is wrong.", Status(403, "RequestTimeTooSkewed")),
    "S3 SignatureDoesNotMatch": _error(_NONE, "A wrong secret.", Status(403, "SignatureDoesNotMatch"), requests=1),
    "S3 RequestTimeout, once": _either(_ONCE, "S3's transient 400.", Status(400, "RequestTimeout"), Good()),
}

#: Every fault.
CATALOGUE: dict[str, Fault] = MATRIX | _CONNECTION | _TLS | _FRAMING | _OBJECT | _RANGE | _STATUS
