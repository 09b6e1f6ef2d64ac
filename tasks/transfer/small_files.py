"""Carries small files: the first requests of many at a time, in one thread, where threads cost more than the files.

Over a long line larger ones go along: there one thread has time enough for all that comes, and the connections that the
small ones have opened need not be opened again by others.

What fails, or comes as other bytes, goes on in a thread of its own, from where it stands: its first attempt counts as
one there, and its bytes are in its partial.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pycurl

from tasks.clients import client_class
from tasks.clients.ending import conclude
from tasks.clients.fetching import Receipt
from tasks.clients.flights import Flights
from tasks.clients.proof import ALGORITHMS, Expected
from tasks.clients.tree import Neighbours
from tasks.clients.verdicts import DownloadError, Verdict, error
from tasks.clients.whole import is_proven, waiting, whole_partial
from tasks.clients.wire import host_of
from tasks.transfer.carrying import Begun, Carried, Way, parted
from tasks.transfer.crew import GROUP_FILES, GROUP_SECONDS, IDLE_SECONDS, Crew
from tasks.transfer.outcomes import failed
from tasks.transfer.queueing import SMALL_BYTES, Queue
from tasks.transfer.switchboard import CLOSING
from tasks.transfer.widening import Width

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tasks.clients.flights import Flight
    from tasks.clients.streaming import StreamingClient
    from tasks.clients.wire import Request
    from tasks.model import Outcome, Source, Transfer
    from tasks.transfer.carrying import Arrival, Carrier

#: So many in a row that did not come well, and the rest is left to the crew.
_MOST_STRIKES = 3
_OK, _REDIRECTS = 200, range(300, 400)


@dataclass(slots=True)
class _Cargo:
    """What a flight is to bring; begun where it did not come whole at once."""

    transfer: Transfer
    source: Source
    client: StreamingClient
    request: Request
    begun: Begun | None = None


def _failed(cargo: _Cargo, failure: DownloadError) -> Outcome:
    receipt = cargo.begun.fetch.receipt if cargo.begun else Receipt(attempts=1)
    return failed(cargo.transfer, failure, {cargo.source: failure}, receipt)


def in_groups(carrier: Carrier, transfers: Iterable[Transfer], connections: int) -> Iterator[list[Arrival]]:
    """Carry small files together, then all others a thread each; yield what arrives in groups.

    Args:
        carrier: Carries one transfer.
        transfers: Read as there is room for more; when the run is stopped, what was not begun is left.
        connections: Files at a time, at the most.
    """
    queue = Queue(transfers)
    small = SmallFiles(carrier, queue, connections)
    yield from small.groups()
    left = queue.left
    try:
        yield from Crew(carrier.carry, left, connections, carrier.switchboard.pace.stop, small.wanted).groups()
    finally:
        for begun in left:
            if isinstance(begun, Begun):
                begun.way.let_go()


class SmallFiles:
    """The small ones among transfers, carried in groups; the others are left in the queue.

    Args:
        carrier: Carries what is left.
        queue: What is to be carried.
        connections: Requests at a time, at the most.
    """

    def __init__(self, carrier: Carrier, queue: Queue, connections: int) -> None:
        self._carrier = carrier
        self._queue = queue
        self._width = Width(connections, carrier.switchboard.came)
        self._pace = carrier.switchboard.pace
        self._flights = Flights(self._pace)
        self._cargo: dict[Flight, _Cargo] = {}
        self._partials = waiting(carrier.partials)
        self._neighbours = Neighbours(carrier.tree)
        self._strikes = 0
        self._group: list[Arrival] = []

    @property
    def wanted(self) -> int:
        """How many requests at a time the server's distance is worth, as far as it is known."""
        return self._width.wanted

    def groups(self) -> Iterator[list[Arrival]]:
        """Yield what came and is proven, in groups: full ones, or what came within a moment."""
        try:
            with self._carrier.switchboard.turns.taken() as turn:
                due = self._pace.monotonic() + GROUP_SECONDS
                while self._go_on():
                    if len(self._group) >= GROUP_FILES or self._pace.monotonic() >= due:
                        yield from self._grouped()
                        turn.look()
                        due = self._pace.monotonic() + GROUP_SECONDS
                self._note_the_stop()
                yield from self._grouped()
        finally:
            self._end()

    def _note_the_stop(self) -> None:
        """What is under way when the run is stopped was begun: it is told, and what came of it is kept."""
        if self._pace.stop.is_set():
            self._group += [_failed(cargo, error("stopped")) for cargo in self._cargo.values()]

    def _grouped(self) -> Iterator[list[Arrival]]:
        group, self._group = self._group, []
        if group:
            yield group

    def _go_on(self) -> bool:
        """Begin what there is room for, and take what came; False when there is nothing more to be done here."""
        if self._pace.stop.is_set():
            return False
        self._fill()
        if not self._flights.open:
            return False
        begin = self._pace.monotonic()
        landed = self._flights.turn(IDLE_SECONDS if self._width.may_grow else GROUP_SECONDS)
        arriving = [flight for flight in self._flights.open if flight.pieces]
        self._width.waited(self._pace.monotonic() - begin, in_vain=not landed and not arriving)
        if self._width.is_far and not self._queue.takes_larger:
            self._queue.take_larger()
        for flight in landed:
            self._land(flight)
        for flight in arriving:
            self._take(flight)
        return True

    def _fill(self) -> None:
        while len(self._flights.open) < self._width.now and self._strikes < _MOST_STRIKES:
            transfer = self._queue.next()
            if transfer is None:
                return
            if not self._begin(transfer):
                self._queue.leave(transfer)

    # --- one file

    def _begin(self, transfer: Transfer) -> bool:
        """Send the first request of a transfer; False where that is not for here."""
        source = self._source(transfer)
        if source is None:
            return False
        try:
            client = cast("StreamingClient", self._carrier.switchboard.client(source))
            request, wire = client.request(source.address), client.wire
            options = wire.options
            most = options.split_bytes if self._queue.takes_larger else SMALL_BYTES + 1
            if options.meter or (transfer.size or 0) >= most:
                return False
            if wire.holds and wire.holds.seconds(host_of(request), self._pace):
                return False
            flight = self._flights.begin(wire, request, options.deadline(most))
        except DownloadError:
            return False
        self._cargo[flight] = _Cargo(transfer, source, client, request)
        return True

    def _source(self, transfer: Transfer) -> Source | None:
        """The source to ask first for a file of known content of which nothing is there; None for all others."""
        size, digest = transfer.size, transfer.digest
        if not size or len(digest) not in ALGORITHMS:
            return None
        if self._partials and f"{ALGORITHMS[len(digest)]}-{digest}-{size}" in self._partials:
            return None
        if self._neighbours.hold(transfer.path):
            return None
        for source in self._carrier.switchboard.order(transfer.sources):
            what = client_class(source.protocol).capabilities
            if not what.managed:
                return None if what.by_digest else source
        return None

    def _land(self, flight: Flight) -> None:
        """Conclude a request that has ended."""
        cargo = self._cargo.pop(flight)
        carried: Carried | None = None
        try:
            status = flight.status
            if status in _REDIRECTS:
                self._queue.leave(cargo.transfer)  # followed by those who look where to
            else:
                whole = status == _OK and not cargo.begun and not flight.failure
                carried = (whole and self._whole(flight, cargo)) or self._concluded(flight, cargo)
        except DownloadError as failure:
            if failure.verdict is Verdict.STOP_RUN:  # a full disk: the others are not to find out one by one
                self._group.append(_failed(cargo, failure))
            else:
                self._queue.leave(cargo.transfer)  # there it meets the same error, and is judged
        cargo.client.wire.flights.append(flight)
        self._strikes = 0 if carried else self._strikes + 1
        if carried:
            self._width.came += 1
            self._carrier.switchboard.came += 1
            self._group.append(carried)
            cargo.client.granted(cargo.source.address)
            self._carrier.switchboard.note(cargo.source, None)

    def _whole(self, flight: Flight, cargo: _Cargo) -> Carried | None:
        """What came at once and is the file needs no more than its digest."""
        transfer, body = cargo.transfer, flight.take()
        partial = whole_partial(self._carrier.partials, Expected(transfer.size, transfer.digest), body)
        if partial is None:
            flight.pieces.append(body)
            return None
        return Carried(transfer, partial, cargo.source, Receipt(len(body), 1, flight.seconds))

    def _concluded(self, flight: Flight, cargo: _Cargo) -> Carried | None:
        """What came in pieces, or badly: proven now, or left as it is begun."""
        begun = self._taken(flight, cargo)
        first, partial, receipt = begun.first, begun.fetch.partial, begun.fetch.receipt
        receipt.seconds += flight.seconds
        try:
            refused = flight.guard.refused
            conclude(
                flight.handle, flight.failure, first.answer, begun.fetch.budget, silent=flight.silent, refused=refused
            )
        except DownloadError as failure:
            first.failure = failure
        if first.failure and first.failure.verdict is Verdict.STOP_RUN and first.failure.code not in CLOSING:
            begun.way.let_go()
            raise first.failure
        if first.failure or not is_proven(partial):
            self._queue.leave(begun)
            return None
        receipt.bytes += first.answer.received
        return Carried(cargo.transfer, partial, cargo.source, receipt)

    def _take(self, flight: Flight) -> None:
        """Put what came on disk, since there is more to come."""
        try:
            self._taken(flight, self._cargo[flight])
        except DownloadError:
            self._flights.abandon(flight)
        if flight.failure:
            self._land(self._flights.abandon(flight))

    def _taken(self, flight: Flight, cargo: _Cargo) -> Begun:
        begun = cargo.begun = cargo.begun or self._begun(flight, cargo)
        data = flight.take()
        if data and begun.first.answer.on_body(data) == 0:
            flight.failure = flight.failure or pycurl.error(pycurl.E_WRITE_ERROR, "")
        return begun

    def _begun(self, flight: Flight, cargo: _Cargo) -> Begun:
        direct, _ = parted(cargo.transfer.sources)
        way = Way(self._carrier, cargo.transfer, direct)
        partial = way.claim(cargo.source, Expected.of(cargo.transfer.size, cargo.transfer.digest))
        attempts = 1 if len(direct) > 1 else None
        fetch = cargo.client.begin(cargo.source.address, partial, way.receipt, attempts)
        first = fetch.begin(cargo.request)
        first.answer.lines = list(flight.lines)
        return Begun(way, cargo.source, fetch, first)

    def _end(self) -> None:
        """Give back what nobody will go on with."""
        self._flights.close()
        for begun in (cargo.begun for cargo in self._cargo.values()):
            if begun:
                begun.way.let_go()
        for arrived in self._group:
            if isinstance(arrived, Carried):
                arrived.partial.release()
