"""Fetches one file over the wire: attempts, resume, proof, and what to begin again after.

The attempts of one file share a partial and a budget. Bytes that arrived are kept across attempts, sources
and processes; bytes that turn out to be wrong are thrown away, and the file begins again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tasks.clients.answer import Answer
from tasks.clients.part import Part
from tasks.clients.patience import Budget
from tasks.clients.ranges import Ranges, may_split
from tasks.clients.verdicts import DownloadError, error
from tasks.clients.wire import host_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.clients.partial import Partial
    from tasks.clients.pieces import Span
    from tasks.clients.wire import Request, Wire

_REFUSALS = {"unauthorised": 401, "forbidden": 403}


@dataclass(slots=True)
class Receipt:
    """What fetching one file has cost so far: bytes received (thrown-away ones too), requests sent, and time."""

    bytes: int = 0
    attempts: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Exchange:
    """One request and its answer, and what speaks against it when it has ended."""

    request: Request
    host: str
    answer: Answer
    failure: DownloadError | None = None


@dataclass(slots=True)
class Fetch:
    """One file on its way: the attempts that complete and prove its partial.

    Attributes:
        wire: Sends the requests.
        address: Names the object, whatever URL it is fetched by.
        partial: Claimed; its bytes are kept and continued where that is safe.
        prepare: Makes a fresh request for each attempt, since signatures expire.
        receipt: What it costs, counted on.
        attempts: Requests in a row without progress before it is given up.
        whole: Whether it is asked for as a whole only, since a server does not give it in parts.
    """

    wire: Wire
    address: str
    partial: Partial
    prepare: Callable[[], Request]
    receipt: Receipt
    attempts: int
    whole: bool = False
    name: str = field(init=False)
    budget: Budget = field(init=False)

    def __post_init__(self) -> None:
        wire, options = self.wire, self.wire.options
        seconds, wait = options.deadline(self.partial.expected.size), options.deadline_seconds
        self.name = unquote(self.address.rpartition("/")[2])
        self.budget = Budget(wire.pace, wire.holds, attempts=self.attempts, seconds=seconds, longest_wait=wait)

    def run(self, first: Exchange | None = None) -> None:
        """Attempt until the partial is proven.

        Args:
            first: The first attempt, where another has made it (see :meth:`begin`).

        Raises:
            DownloadError: what speaks against it; the partial keeps what can be continued.
        """
        pace = self.wire.pace
        begin = pace.monotonic()
        try:
            self._attempt(first)
        finally:
            self.receipt.seconds += pace.monotonic() - begin

    def _attempt(self, first: Exchange | None) -> None:
        while True:
            before = first.answer.offset if first else self.partial.held
            try:
                resumed = self._end(first) if first else self._complete()
            except DownloadError as failure:
                self.budget.spend(failure, self.partial.held - before)
            else:
                if self._is_proven(resumed=resumed):
                    return
            first = None

    def _complete(self) -> bool:
        """Fetch what is missing; return whether bytes of earlier attempts are part of the file."""
        partial = self.partial
        if partial.size and partial.size == partial.expected.size:
            return True
        self._forget_what_cannot_be_continued()
        request = self.prepare()
        try:
            return self._exchange(request)
        except DownloadError as refusal:
            if not request.temporary or refusal.code not in _REFUSALS:
                raise
            another = self._instead_of(request, refusal)
        return self._exchange(another)

    def _instead_of(self, request: Request, refusal: DownloadError) -> Request:
        """Another URL in place of one that may have run out; the same one again has not: that was the last word."""
        another = self.prepare()
        if another.url == request.url:
            raise refusal
        return another

    def _exchange(self, request: Request) -> bool:
        self.budget.wait_for(host_of(request))
        return self._in_ranges(request) if may_split(self) else self._in_one(request)

    def _in_one(self, request: Request) -> bool:
        wire, partial, exchange = self.wire, self.partial, self.begin(request)
        partial.pieces.discard()
        wire.lines.enter(exchange.host, wire.options.connections, wire.pace)
        try:
            wire.perform(request, exchange.answer, self.range_headers(partial.size), self.budget)
        except DownloadError as failure:
            exchange.failure = failure
        finally:
            wire.lines.leave(exchange.host, wire.pace)
        return self._end(exchange)

    def _in_ranges(self, request: Request) -> bool:
        ranges = Ranges(self)
        self.receipt.attempts += 1
        try:
            ranges.run(request)
        except DownloadError as failure:
            if request.temporary and failure.code in _REFUSALS:
                where = f"{self.name} at {host_of(request)}"
                raise error("forbidden", f"{where}: HTTP {_REFUSALS[failure.code]}.") from failure
            raise
        return self.partial.size > ranges.received

    def begin(self, request: Request) -> Exchange:
        """Count an attempt, whose answer is to be read into the partial."""
        self.receipt.attempts += 1
        return Exchange(request, host_of(request), self.answer(host_of(request)))

    def answer(self, host: str) -> Answer:
        """What reads the answer to a request for all that is missing."""
        where, now = f"{self.name} at {host}", self.wire.pace.now
        return Answer(self.partial, address=self.address, name=self.name, where=where, now=now)

    def part(self, host: str, span: Span) -> Part:
        """What reads the answer to a request for some of it."""
        where, now = f"{self.name} at {host}", self.wire.pace.now
        return Part(self.partial, span, address=self.address, name=self.name, where=where, now=now)

    def _end(self, exchange: Exchange) -> bool:
        """Count what an attempt brought; return whether bytes of earlier ones are part of the file, or raise."""
        partial, answer, failure = self.partial, exchange.answer, exchange.failure
        self.receipt.bytes += answer.received
        if failure is None:
            return partial.size > answer.received
        self.budget.heed(failure, exchange.host)
        if not answer.resumable:
            partial.rewind()
        if exchange.request.temporary and failure.code in _REFUSALS:
            raise error("forbidden", f"{answer.where}: HTTP {answer.status}.") from failure
        raise failure

    def _is_proven(self, *, resumed: bool) -> bool:
        """Prove the partial; if it is wrong throw it away, and raise unless another attempt may mend it."""
        try:
            self.partial.prove(self.name)
        except DownloadError as mismatch:
            twice = self.partial.reject()
            self.budget.mismatch(mismatch, certain=twice or (not resumed and mismatch.code != "digest-mismatch"))
            return False
        return True

    def _forget_what_cannot_be_continued(self) -> None:
        """Begin again where a splice could go unseen: no digest, and no proof that the object is the same."""
        partial = self.partial
        expected = partial.expected
        too_long = expected.size is not None and partial.size > expected.size
        blind = not expected.digest and (not partial.validator or partial.source not in ("", self.address))
        if partial.held and (too_long or blind):
            partial.rewind()

    def range_headers(self, start: int, stop: int | None = None) -> list[str]:
        """Header lines that ask for the bytes from `start` on, of the object that the others came from."""
        partial = self.partial
        if not start and stop is None:
            return []
        condition = [f"If-Range: {partial.if_range}"] if partial.if_range and partial.source == self.address else []
        return [f"Range: bytes={start}-{'' if stop is None else stop - 1}", *condition]
