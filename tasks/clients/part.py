"""Reads one HTTP answer that is to hold some bytes from the middle: exactly those, of exactly that object, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from tasks.clients.answer import Answer
from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from tasks.clients.partial import Partial
    from tasks.clients.pieces import Piece, Span


class Part(Answer):
    """One answer to a request for a span of `partial`'s missing bytes.

    What comes when its turn is there is appended to the partial; what comes before, or faster than the digest, waits in
    a piece. An answer that is not the span throws nothing away but itself.

    Args:
        partial: Where the bytes go.
        span: Which bytes are asked for.
        more: As for :class:`Answer`.
    """

    def __init__(self, partial: Partial, span: Span, **more: Any) -> None:
        super().__init__(partial, **more)
        self.offset = span.start
        self.span = span
        self._at = span.start
        self._piece: Piece | None = None

    @property
    def at(self) -> int:
        """Place of the next byte in the whole file."""
        return self._at

    def finish(self) -> None:
        """Conclude after libcurl ended the transfer without an error of its own.

        Raises:
            DownloadError: whatever the answer was, unless it held the whole span.
        """
        self._conclude()
        if self.at != self.span.stop:
            raise error("connection-lost", f"{self.where}: {self.span.stop - self.at:,} bytes of a range are missing.")

    def _accept_whole(self) -> None:
        """200: the object is another one now, or ranges are not looked at."""
        self._refuse_the_answer()

    def _accept_rest(self) -> None:
        span, partial, length = self.span, self.partial, self._length()
        exact = self.headers.get("content-range") == f"bytes {span.start}-{span.stop - 1}/{partial.expected.size}"
        known = bool(self._validator()) or not partial.validator or partial.source not in ("", self.address)
        if not (exact and known) or "content-encoding" in self.headers or length not in (None, span.size):
            self._refuse_the_answer()
        self._refuse_change()
        self._remember()

    def _accept_nothing(self) -> None:
        """416: the object ends before what was asked for, or ranges are refused now."""
        self._refuse_the_answer()

    def _refuse_the_answer(self) -> NoReturn:
        """Tell another object, where the answer tells it, from an answer that is not what was asked."""
        if self._validator():
            self._refuse_change()
        raise error("range-refused", f"{self.where}: asked for bytes {self.span.start:,} to {self.span.stop - 1:,}.")

    def _write(self, data: bytes) -> None:
        if self.at + len(data) > self.span.stop:
            raise error("protocol", f"{self.where}: more bytes come than were asked for.")
        if self.at == self.partial.size and not self.partial.lags:
            self.partial.write(data)
        else:
            self._wait_for_turn(data)
        self._at += len(data)

    def close(self) -> None:
        """Conclude the writing: no more of this answer comes."""
        if self._piece:
            self._piece.close()

    def _wait_for_turn(self, data: bytes) -> None:
        if self._piece is None or self._piece not in self.partial.pieces:  # it has been appended meanwhile
            self.close()
            self._piece = self.partial.pieces.begin(self.partial.name, self.at)
        self._piece.write(data)
