"""Larger pieces of a body than libcurl's own, where they come fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: What is read and handed on at once: few steps a file, and a stop that is soon seen on a slow line.
GATHERED_BYTES = 512 * 1024
#: What libcurl hands to a callback at once (CURL_MAX_WRITE_SIZE), however large its buffer is.
_PIECE_BYTES = 16 * 1024


class Gather:
    """Hands a body on in larger pieces than libcurl's, as long as they come without a pause.

    A piece that is not full is the last that the socket held: then nothing is kept back, so that a process that is
    killed while it waits for more has everything on disk.
    """

    def __init__(self, on_body: Callable[[bytes], int | None]) -> None:
        self._on_body = on_body
        self._pieces: list[bytes] = []
        self._bytes = 0

    def take(self, piece: bytes) -> int | None:
        """Libcurl's callback; 0 makes it end the transfer."""
        self._pieces.append(piece)
        self._bytes += len(piece)
        if len(piece) == _PIECE_BYTES and self._bytes < GATHERED_BYTES:
            return None
        return self.hand_on()

    def hand_on(self) -> int | None:
        """Hand on what is kept."""
        data, self._pieces, self._bytes = b"".join(self._pieces), [], 0
        return self._on_body(data) if data else None
