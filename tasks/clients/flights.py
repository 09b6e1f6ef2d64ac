"""Many requests at a time in one thread, over libcurl's multi interface.

For small files this costs a third of what a thread a request costs: nobody waits for the interpreter, and one look at
the sockets serves them all. What comes is kept in memory until the caller takes it, after each turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycurl

from tasks.clients.reach import guarded
from tasks.clients.verdicts import DownloadError

if TYPE_CHECKING:
    from collections.abc import Collection

    from tasks.clients.seams import Pace
    from tasks.clients.wire import Request, Wire

#: How often the flights are looked after that say nothing.
_LOOK_SECONDS = 1.0


class Flight:
    """One request under way, on a handle that serves one request after another.

    Attributes:
        lines: Header lines that came.
        pieces: What came of the body and was not taken yet.
        failure: Why it ended, None where it ended well.
        silent: Whether it was ended because nothing came for too long.
        guard: Opens its connections, or refuses to.
    """

    __slots__ = (
        "_begun",
        "_bytes",
        "_like",
        "_since",
        "failure",
        "guard",
        "handle",
        "lines",
        "pieces",
        "silent",
        "wire",
    )

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.handle = wire.new_handle()
        self.lines: list[bytes] = []
        self.pieces: list[bytes] = []
        self.failure: pycurl.error | None = None
        self.silent = False
        self._bytes, self._begun, self._since = 0, 0.0, 0.0
        self._like: tuple[object, ...] = ()
        self.handle.setopt(pycurl.NOPROGRESS, 1)
        self.handle.setopt(pycurl.HEADERFUNCTION, self.lines.append)
        self.handle.setopt(pycurl.WRITEFUNCTION, self.pieces.append)

    @property
    def status(self) -> int:
        """The HTTP status, 0 before there is one."""
        return int(self.handle.getinfo(pycurl.RESPONSE_CODE))

    @property
    def seconds(self) -> float:
        """How long it has taken until now."""
        return self.wire.pace.monotonic() - self._begun

    def take(self) -> bytes:
        """Take what came of the body since the last time."""
        data = b"".join(self.pieces)
        self.pieces.clear()
        return data

    def begin(self, request: Request, seconds: float) -> None:
        """Get ready for another request; most are to the site that the one before was to.

        Raises:
            DownloadError: `address-refused` or `bad-request`.
        """
        self.lines.clear()
        self.pieces.clear()
        self.failure, self.silent = None, False
        self._bytes, self._since = 0, self.wire.pace.monotonic()
        self._begun = self._since
        url = request.url
        slash = url.find("/", len("https://"))
        site = url if slash < 0 else url[:slash]
        like = (site, request.headers, request.user, request.password, request.sign, seconds)
        if like == self._like and url.isascii() and url.isprintable():
            self.handle.setopt(pycurl.URL, url)
            self.guard.refused = ""
        else:
            self._prepare(request, seconds)
            self._like = like

    def _prepare(self, request: Request, seconds: float) -> None:
        self._like = ()
        self.guard = guarded(request, self.wire.options.allow_hosts)
        self.wire.address(self.handle, request, seconds)
        # Connections are shared, and not looked at again: a redirect could lead to one that another guard had opened.
        self.handle.setopt(pycurl.FOLLOWLOCATION, 0)
        self.handle.setopt(pycurl.OPENSOCKETFUNCTION, self.guard.open)

    def is_silent(self) -> bool:
        """Whether nothing came for longer than a stall may last; libcurl's own limit sees that late."""
        came, now = self.handle.getinfo(pycurl.SIZE_DOWNLOAD_T), self.wire.pace.monotonic()
        if came != self._bytes:
            self._bytes, self._since = came, now
        self.silent = now - self._since >= self.wire.options.stall_seconds
        return self.silent


class Flights:
    """The requests under way in this thread, and their connections."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._multi = pycurl.CurlMulti()
        self._looked = pace.monotonic()
        self._by_handle: dict[pycurl.Curl, Flight] = {}

    def begin(self, wire: Wire, request: Request, seconds: float) -> Flight:
        """Send a request, which may take so long; raises as :meth:`Flight.begin` does."""
        flight = wire.flights.pop() if wire.flights else Flight(wire)
        try:
            flight.begin(request, seconds)
        except DownloadError:
            wire.flights.append(flight)
            raise
        self._multi.add_handle(flight.handle)
        self._by_handle[flight.handle] = flight
        return flight

    @property
    def open(self) -> Collection[Flight]:
        """The requests under way."""
        return self._by_handle.values()

    def turn(self, seconds: float) -> list[Flight]:
        """Move what can be moved; wait so long for something to come only if nothing did. Return what ended."""
        ended = self._perform()
        if not ended and not any(flight.pieces for flight in self.open):
            self._multi.select(seconds)
            ended = self._perform()
        if self._pace.monotonic() - self._looked >= _LOOK_SECONDS:
            self._looked = self._pace.monotonic()
            ended += [self.abandon(flight) for flight in list(self.open) if flight.is_silent()]
        return ended

    def _perform(self) -> list[Flight]:
        self._multi.perform()
        ended, waiting = [], 1
        while waiting:
            waiting, good, bad = self._multi.info_read()
            ended += [self._end(self._by_handle[handle]) for handle in good]
            for handle, number, message in bad:
                flight = self._by_handle[handle]
                flight.failure = pycurl.error(number, message)
                ended.append(self._end(flight))
        return ended

    def abandon(self, flight: Flight) -> Flight:
        """End a request early, because it is silent or its answer is refused."""
        number = pycurl.E_ABORTED_BY_CALLBACK if flight.silent else pycurl.E_WRITE_ERROR
        flight.failure = pycurl.error(number, "")
        return self._end(flight)

    def _end(self, flight: Flight) -> Flight:
        self._multi.remove_handle(flight.handle)
        del self._by_handle[flight.handle]
        return flight

    def close(self) -> None:
        """End all requests, and close the connections."""
        for flight in list(self.open):
            self._end(flight)
        self._multi.close()
