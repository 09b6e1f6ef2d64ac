"""A file, or a part of it, as the answer to a request; what nginx and S3 have in common."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from starlette.requests import Request

_CHUNK = 256 * 1024
_SINGLE = re.compile(r"bytes=(?:(\d+)-(\d*)|-(\d+))")


class UnsatisfiableError(Exception):
    """The range begins behind the end of the file."""


class Span(NamedTuple):
    """Bytes from `start` up to and without `stop`."""

    start: int
    stop: int

    def header(self, size: int) -> str:
        """Return the Content-Range."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def asked(header: str | None, size: int) -> Span | None:
    """Return the span that a Range header asks for, or None for the whole file.

    Several ranges at once and other units are answered with the whole file, as the standard allows.

    Raises:
        UnsatisfiableError: No byte of the range exists.
    """
    match = _SINGLE.fullmatch(header or "")
    if not match:
        return None
    first, last, tail = match.groups()
    start = max(0, size - int(tail)) if tail else int(first)
    stop = min(size, int(last) + 1) if last else size
    if start >= size or (last and int(last) < int(first)):
        raise UnsatisfiableError
    return Span(start, stop)


def respond(request: Request, path: Path, span: Span, headers: Mapping[str, str], status: int) -> Response:
    """Return a response with these bytes of the file, or with their headers alone for HEAD."""
    length = span.stop - span.start
    complete = {**headers, "Content-Length": str(length)}
    if request.method == "HEAD":
        return Response(status_code=status, headers=complete)
    chunks = _read(path, span)
    if length <= _CHUNK:
        return Response(b"".join(chunks), status, complete)
    return StreamingResponse(_given(chunks), status, complete)


def _read(path: Path, span: Span) -> Iterator[bytes]:
    left = span.stop - span.start
    with path.open("rb") as file:
        file.seek(span.start)
        while left and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk


async def _given(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Give chunks without a thread: a loopback server's files are in the page cache."""
    for chunk in chunks:
        yield chunk
