"""Reads one HTTP answer into a partial: what is accepted, what restarts, what is refused.

A 206 is accepted only if its Content-Range is exactly what was asked, from an object whose validator has
not changed; a 200 restarts; a page is never data. Everything is decided before the first byte is written.
"""

from __future__ import annotations

import re
import zlib
from functools import cached_property
from typing import TYPE_CHECKING

from tasks.clients.owners import short_hash
from tasks.clients.proof import MARKUP, suffix
from tasks.clients.verdicts import DownloadError, error, http_status, os_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.clients.partial import Partial

_OK, _PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 200, 206, 416
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_STATUS_LINE = re.compile(r"HTTP/\S* ([0-9]{3})(?![^ \r\n])")
_LENGTH = re.compile(r"\d{1,19}")
_UNSATISFIED = re.compile(r"bytes \*/(\d{1,19})")
#: More headers than any file server sends: beyond it, the answer is hostile.
_MOST_HEADERS = 200
#: How much of an error answer is read, to look for S3's error code.
_ERROR_BODY = 4096
_PIECE = 1 << 20


class Answer:
    """One answer to a request for `partial`'s missing bytes.

    Args:
        partial: Where the bytes go.
        address: Names the object, whatever URL it is fetched by; validators are compared within one address.
        name: File name, for its suffix and for messages.
        where: File and host, for messages.
        now: Reads the wall clock, for `Retry-After` dates.
    """

    def __init__(self, partial: Partial, *, address: str, name: str, where: str, now: Callable[[], float]) -> None:
        self.partial = partial
        self.address = address
        self.name = name
        self.where = where
        self.now = now
        self.offset = partial.size
        self.lines: list[bytes] = []
        self.failure: DownloadError | None = None
        self.received = 0
        self._accepted: bool | None = None
        self._decoder: zlib._Decompress | None = None
        self._error_body = b""

    # --- libcurl's callbacks: `lines.append` takes the header lines ---------------------------------

    def on_body(self, data: bytes) -> int | None:
        """Take bytes of the body; returning 0 makes libcurl end the transfer, with `failure` saying why."""
        try:
            if self._decide():
                self.received += len(data)
                for piece in self._plain(data):
                    self._write(piece)
                return None
        except DownloadError as refused:
            self.failure = refused
        except OSError as failed:
            self.failure = os_error(failed, self.partial.path, missing=self.partial.missing)
        except zlib.error as broken:
            self.failure = error("protocol", f"{self.where}: the compressed body is broken ({broken}).")
        else:
            self._error_body += data[: _ERROR_BODY - len(self._error_body)]
            return None if len(self._error_body) < _ERROR_BODY else 0
        return 0

    def _plain(self, data: bytes) -> Iterator[bytes]:
        """The bytes before compression, a bounded piece at a time: a small answer may stand for gigabytes."""
        if self._decoder is None:
            yield data
            return
        while data:
            if self._decoder.eof:  # gzip may be several streams, one after another
                self._decoder = _decoder()
            yield self._decoder.decompress(data, _PIECE)
            data = self._decoder.unconsumed_tail or self._decoder.unused_data

    # --- the head ---------------------------------------------------------------------------------

    @property
    def status(self) -> int:
        """The HTTP status, 0 when none came."""
        return self._head[0]

    @property
    def at(self) -> int:
        """Place of the next byte in the whole file."""
        return self.partial.size

    @property
    def is_accepted(self) -> bool:
        """Whether bytes of the file are coming."""
        return self._accepted is True

    @property
    def headers(self) -> dict[str, str]:
        """The headers by name in lower case."""
        return self._head[1]

    @cached_property
    def _head(self) -> tuple[int, dict[str, str]]:
        """Read the lines once all of them have come; a status line begins a new answer (after a redirect or a 100)."""
        status = 0
        headers: dict[str, str] = {}
        for line in self.lines:
            text = line.decode("latin-1")
            if text.startswith("HTTP/"):
                found = _STATUS_LINE.match(text)
                status, headers = int(found[1]) if found else 0, {}
            else:
                key, colon, value = text.partition(":")
                if colon:
                    headers[key.strip().lower()] = value.strip()
        return status, headers

    # --- the verdict ------------------------------------------------------------------------------

    def finish(self) -> None:
        """Conclude after libcurl ended the transfer without an error of its own.

        Raises:
            DownloadError: whatever the answer was, unless the partial now holds the whole object.
        """
        self._conclude()
        missing = (self.partial.expected.size or 0) - self.partial.size
        if missing > 0 and "content-length" not in self.headers and self._decoder is None:
            raise error("connection-lost", f"{self.where}: {missing:,} bytes are missing.")
        if self._decoder and self.received and not self._decoder.eof:
            raise error("connection-lost", f"{self.where}: the compressed body ends too soon.")

    def _conclude(self) -> None:
        self.raise_failure()
        try:
            accepted = self._decide()
        except DownloadError as refused:
            self.failure = refused
        self.raise_failure()
        if not accepted:
            raise self.refusal()

    def raise_failure(self) -> None:
        """Raise what a callback found, if anything."""
        if self.failure:
            raise self.failure

    def refusal(self) -> DownloadError:
        """The verdict on an answer that is an error document."""
        return http_status(self.status, self.where, self.headers, self._error_body, now=self.now())

    @property
    def is_error(self) -> bool:
        """Whether an error document is being read instead of the file."""
        return self._accepted is False

    def _decide(self) -> bool:
        if self._accepted is None:
            self._accepted = self._accept()
        return self._accepted

    def _accept(self) -> bool:
        """Look at status and headers; True when the body is the file, False when it is an error document."""
        if len(self.headers) > _MOST_HEADERS:
            raise error("protocol", f"{self.where}: more than {_MOST_HEADERS} headers.")
        if self.status == _OK:
            self._accept_whole()
        elif self.status == _PARTIAL_CONTENT:
            self._accept_rest()
        elif self.status == _RANGE_NOT_SATISFIABLE and self.offset:
            self._accept_nothing()
        else:
            return False
        return True

    def _accept_whole(self) -> None:
        self._refuse_pages()
        self.partial.rewind()
        self._choose_decoder()
        self._check_length(0)
        self._remember()

    def _accept_rest(self) -> None:
        found = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", ""))
        first, last, total = (int(part) if part.isdigit() else None for part in found.groups()) if found else (0,) * 3
        exact = found and self.offset and first == self.offset and (total is None or last == total - 1)
        if not exact or "content-encoding" in self.headers:
            self.partial.rewind()
            raise error("range-refused", f"{self.where}: asked from byte {self.offset:,}.")
        if total is not None and self.partial.expected.size not in (None, total):
            raise self._wrong_size(total)
        self._check_length(self.offset)
        self._refuse_change()
        self._remember()

    def _accept_nothing(self) -> None:
        """416: the partial is whole already, or it is longer than the object and worthless."""
        found = _UNSATISFIED.fullmatch(self.headers.get("content-range", ""))
        if not found or int(found[1]) != self.offset:
            self.partial.rewind()
            raise error("range-refused", f"{self.where}: there is nothing from byte {self.offset:,}.")
        self._refuse_change()

    def _refuse_pages(self) -> None:
        """A page instead of data, unless it has the registered size and a digest will tell."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        expected = self.partial.expected
        digest_will_tell = expected.digest and self._length() == expected.size is not None
        is_page = kind in ("text/html", "application/xhtml+xml") and suffix(self.name) not in MARKUP
        if is_page and not digest_will_tell:
            raise error("not-data", f"{self.where}: it sends {kind}.")

    def _choose_decoder(self) -> None:
        """Undo a Content-Encoding nobody asked for, unless the registered file is the compressed one."""
        encoding = self.headers.get("content-encoding", "identity").lower()
        expected = self.partial.expected
        as_is = self._length() == expected.size if expected.size is not None else suffix(self.name) == ".gz"
        if encoding in ("identity", "") or as_is:
            return
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise error("bad-request", f"{self.where}: it compresses with {encoding[:20]!r}, unasked.")
        self._decoder = _decoder()

    def _check_length(self, offset: int) -> None:
        """Compare what is announced with what is registered, before a byte is moved."""
        length, expected = self._length(), self.partial.expected.size
        if length is not None and expected is not None and not self._decoder and offset + length != expected:
            raise self._wrong_size(offset + length)

    def _wrong_size(self, size: int) -> DownloadError:
        detail = f"{self.where}: Alyx registers {self.partial.expected.size:,} bytes, the source has {size:,}."
        return error("size-mismatch", detail)

    def _length(self) -> int | None:
        text = self.headers.get("content-length", "")
        return int(text) if _LENGTH.fullmatch(text) else None

    def _validator(self) -> str:
        return self.headers.get("etag") or self.headers.get("last-modified", "")

    def _refuse_change(self) -> None:
        """Bytes of two versions are never spliced; a digest allows other sources to continue, not other versions."""
        partial = self.partial
        same_object = partial.source in ("", self.address)
        mark = short_hash(self._validator()) if self._validator() else ""
        if same_object and partial.validator and partial.validator != mark:
            partial.rewind()
            raise error("changed", f"{self.where}.")

    def _remember(self) -> None:
        etag = self.headers.get("etag", "")
        strong = etag if etag and not etag.startswith("W/") else self.headers.get("last-modified", "")
        # It goes back to the server as a header: what could be anything but one word there is not repeated.
        is_plain = strong.isascii() and strong.isprintable()
        self.partial.source, self.partial.if_range = self.address, strong if is_plain else ""
        self.partial.remember("" if self._decoder else self._validator())

    def _write(self, data: bytes) -> None:
        limit = self.partial.expected.size
        if limit is not None and self.partial.size + len(data) > limit:
            raise error("size-mismatch", f"{self.where}: more bytes come than the {limit:,} that Alyx registers.")
        self.partial.write(data)

    @property
    def resumable(self) -> bool:
        """Whether what was written can be continued by a range of the object: not after decompression."""
        return self._decoder is None


def _decoder() -> zlib._Decompress:
    """Of gzip and of zlib's own form, whichever comes."""
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
