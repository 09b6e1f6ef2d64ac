"""A transfer whose bytes are metered: it waits for its share of a limit that it has in common with others."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tasks.clients.verdicts import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    Take = Callable[[bytes], int | None]

#: What a metered line takes at once, so that a slow one is not silent for long.
METERED_BYTES = 64 * 1024
#: Longest time for a file whose speed is not its server's matter.
UNHURRIED_SECONDS = 7 * 24 * 3600.0


def metered(take: Take, meter: Callable[[int], None] | None) -> Take:
    """Return what takes bytes and then waits for the meter; `take` itself where there is none."""
    if meter is None:
        return take

    def take_and_wait(data: bytes) -> int | None:
        taken = take(data)
        with suppress(DownloadError):  # stopped: libcurl's next look at its watch ends the transfer
            meter(len(data))
        return taken

    return take_and_wait
