"""Fetches one large file in ranges, over as many connections as pay, in one thread.

It begins as every file does, with one request for all that is missing. Where bytes come slower than this machine takes
them, the rest is split into spans, given out in the order of their places, so that the prefix, and the digest over it,
grow while later spans still arrive. A connection that breaks gives back what it has not brought; only when the last
one breaks, the file has failed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pycurl

from tasks.clients.growth import WORTH_SECONDS, Growth, Reading
from tasks.clients.part import Part
from tasks.clients.pieces import Span, gap
from tasks.clients.stream import Stream
from tasks.clients.verdicts import DownloadError, Verdict, os_error
from tasks.clients.wire import host_of

if TYPE_CHECKING:
    from tasks.clients.answer import Answer
    from tasks.clients.fetching import Fetch
    from tasks.clients.wire import Request

#: What one request asks for: not so little that the way to the server costs more than the bytes, and not so much that
#: much waits for the one that the prefix needs next.
_LEAST_SPAN = 1 << 20
_MOST_SPAN = 16 << 20
#: How long the thread waits for bytes before it looks around.
_LOOK_SECONDS = 0.1
#: How often it is looked at how fast bytes come.
_LEARN_SECONDS = 0.01
#: While libcurl looks a name up, it has no socket to wait for.
_LOOKUP_SECONDS = 0.005
#: What one connection is refused others may still bring; anything else speaks against the object, or this machine.
_OF_ONE_CONNECTION = ("forbidden", "not-found", "range-refused")
_PARTIAL_CONTENT = 206
_REFUSED = ("throttled", "range-refused", "forbidden", "server-error")


def may_split(fetch: Fetch) -> bool:
    """Whether a file is fetched here: it is large, or begun in ranges, and may have more than one connection."""
    options, partial = fetch.wire.options, fetch.partial
    if fetch.whole or partial.missing is None:
        return False
    return bool(partial.pieces) or (options.allows_several and partial.missing >= options.split_bytes)


class Ranges:
    """The missing bytes of one file, and the connections that bring them."""

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        self.partial = fetch.partial
        self.pace = fetch.wire.pace
        self.received = 0
        self._total = self.partial.expected.size or 0
        options = fetch.wire.options
        self._limit = options.connections if options.allows_several else 1
        self._growth = Growth(self._limit)
        self._streams: dict[pycurl.Curl, Stream] = {}
        self._bundle = pycurl.CurlMulti()
        self._first_byte = 0.0
        self._can_split = False
        self._request: Request
        self._host = ""
        self._lines = fetch.wire.lines
        self._next_look = 0.0

    def run(self, request: Request) -> None:
        """Fetch until nothing is missing.

        Args:
            request: The first one to send; further ones are prepared anew, since signatures expire.

        Raises:
            DownloadError: the last connection broke, or what one brought speaks against the whole. What came is kept
                where it can be continued.
        """
        self._host, self._request = host_of(request), request
        self._lines.enter(self._host, self._limit, self.pace)
        try:
            self._work()
        except OSError as failure:
            raise os_error(failure, self.partial.path, missing=self.partial.missing) from failure
        finally:
            self._bundle.close()
            self._lines.leave(self._host, self.pace)

    def _work(self) -> None:
        self._absorb()
        try:
            if self._free():
                self._start(self._request, borrowed=False)
            while self._streams or self._free():
                self._turn()
        finally:
            for stream in list(self._streams.values()):
                self._end(stream)
        self._absorb()

    def _absorb(self) -> None:
        while self.partial.absorb():
            self.pace.check()

    def _turn(self) -> None:
        self.pace.check()
        self._bundle.perform()
        self._collect()
        self._hang_up_what_is_wanted()
        self._start_more()
        self._learn()
        if self.partial.lags or not self.partial.absorb():
            self._wait()

    def _wait(self) -> None:
        if self._bundle.select(_LOOK_SECONDS) < 0:
            self.pace.stop.wait(_LOOKUP_SECONDS)

    # --- ends -------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Write what came, and conclude what ended."""
        ended: dict[pycurl.Curl, pycurl.error | None] = {}
        left = 1
        while left:
            left, good, bad = self._bundle.info_read()
            ended.update(dict.fromkeys(good))
            ended.update({handle: pycurl.error(number, text) for handle, number, text in bad})
        for handle, stream in list(self._streams.items()):
            stream.hand_on()
            self._note_first_byte(stream)
            if handle in ended or stream.is_done or stream.is_refused:
                self._conclude(stream, ended.get(handle))

    def _conclude(self, stream: Stream, failure: pycurl.error | None) -> None:
        self._end(stream)
        try:
            stream.answer.raise_failure()
            if not stream.is_done:
                stream.sending.conclude(failure)
        except DownloadError as lost:
            self._lose(stream, lost)

    def _lose(self, stream: Stream, failure: DownloadError) -> None:
        """Go on without a connection; raise where it was the last one, or where others cannot mend it either."""
        self.fetch.budget.heed(failure, stream.host)
        if not stream.answer.resumable:
            self.partial.rewind()
        if failure.code == "range-refused":
            self.fetch.whole = not self._streams
        of_one = failure.verdict is Verdict.RETRY or failure.code in _OF_ONE_CONNECTION
        if not self._streams or failure.code == "changed" or not of_one:
            raise failure
        self.fetch.receipt.attempts += 1
        self._growth.lost(len(self._streams), self.pace.monotonic(), refused=failure.code in _REFUSED)
        self._hand_back()

    def _hand_back(self) -> None:
        """Let a connection bring after all what it asked for, and another one was to bring in its stead."""
        free = self._free()
        for stream in self._streams.values():
            if free and stream.stop == free.start:
                stream.stop = min(stream.asked.stop, free.stop)

    def _end(self, stream: Stream) -> None:
        """Take a stream out; what it has not brought is missing again."""
        handle = stream.sending.handle
        self._bundle.remove_handle(handle)
        del self._streams[handle]
        if isinstance(stream.answer, Part):
            stream.answer.close()
        self.fetch.wire.take_back(stream.sending)
        self.received += stream.answer.received
        self.fetch.receipt.bytes += stream.answer.received
        if stream.borrowed:
            self._lines.give_back(self._host)

    def _hang_up_what_is_wanted(self) -> None:
        """Give a borrowed connection back at once, when another file waits for it."""
        if self._lines.wanted(self._host):
            borrowed = [stream for stream in self._streams.values() if stream.borrowed]
            if borrowed:
                stream = min(borrowed, key=lambda one: one.answer.received)
                stream.hand_on()
                self._end(stream)
                self._growth.no_room(len(self._streams))
                self._hand_back()

    # --- beginnings -------------------------------------------------------------------------------

    def _start_more(self) -> None:
        """Begin as many requests as are wanted, while there is anything left to ask for."""
        while len(self._streams) < (self._growth.wanted if self._can_split else 1):
            if self._free() is None and not self._take_over() and not self._hang_up_a_straggler():
                return
            if not self._streams:
                self.fetch.budget.wait_for(self._host)
                self._start(self._next_request(), borrowed=False)
            elif self.fetch.wire.holds.are_asked(self._host, self.pace) or not self._start_another():
                return

    def _start_another(self) -> bool:
        """Begin a request over the file's own connection, or over a borrowed one."""
        own = all(stream.borrowed for stream in self._streams.values())
        if not own and not self._lines.borrow(self._host, self._limit, self.pace):
            self._growth.no_room(len(self._streams))
            return False
        self._start(self._next_request(), borrowed=not own)
        return True

    def _next_request(self) -> Request:
        """A fresh request, since signatures expire; an address that somebody else signed is good for more than one."""
        if not self._request.temporary:
            self._request = self.fetch.prepare()
        return self._request

    def _start(self, request: Request, *, borrowed: bool) -> None:
        span = self._next_span()
        host, answer = host_of(request), self._answer_for(span, host_of(request))
        stream = Stream(answer, host, span, self.pace.monotonic(), borrowed=borrowed)
        last = span.stop if isinstance(answer, Part) else None
        headers = self.fetch.range_headers(span.start, last)
        stream.sending = self.fetch.wire.prepare(request, answer, headers, self.fetch.budget, stream.take)
        self._streams[stream.sending.handle] = stream
        self._bundle.add_handle(stream.sending.handle)

    def _next_span(self) -> Span:
        """What to ask for: the first that nobody brings; all of it, as long as there is one connection."""
        free = self._free()
        assert free  # noqa: S101  (looked for before; for the type checker)
        if not self._can_split or self._growth.wanted == 1:
            return free
        return Span(free.start, min(free.stop, free.start + self._span_bytes()))

    def _answer_for(self, span: Span, host: str) -> Answer:
        """All that is missing is asked for as every file is, so that a server may also answer with the whole object."""
        whole = span == (self.partial.size, self._total) and not self._streams
        return self.fetch.answer(host) if whole else self.fetch.part(host, span)

    def _free(self) -> Span | None:
        """The first bytes that are neither here nor on their way."""
        under_way = [stream.rest for stream in self._streams.values()]
        return gap(self._total, [Span(0, self.partial.size), *self.partial.pieces.spans(), *under_way])

    def _span_bytes(self) -> int:
        """How much one request asks for: less and less, so that all connections are busy to the end."""
        share = (self.partial.missing or 0) // (2 * self._growth.wanted)
        return max(_LEAST_SPAN, min(_MOST_SPAN, share))

    def _take_over(self) -> bool:
        """Make some of what the slowest stream is still to bring free for another; return whether there is any."""
        now = self.pace.monotonic()
        streams = [stream for stream in self._streams.values() if stream.answer.is_accepted]
        slowest = max(streams, key=lambda one: one.seconds_left(now), default=None)
        if not slowest or slowest.rest.size < 2 * _LEAST_SPAN or slowest.seconds_left(now) < WORTH_SECONDS:
            return False
        start, size = slowest.rest.start, slowest.rest.size
        slowest.stop = start + min(size // 2, self._span_bytes())
        return True

    def _hang_up_a_straggler(self) -> bool:
        """End a connection whose last bytes another one would bring much sooner; return whether there was one."""
        now, best = self.pace.monotonic(), self._growth.best
        straggler = next((stream for stream in self._streams.values() if stream.straggles(now, best)), None)
        if straggler:
            self._end(straggler)
            self.fetch.receipt.attempts += 1
        return straggler is not None

    # --- what is seen of them ---------------------------------------------------------------------

    def _note_first_byte(self, stream: Stream) -> None:
        if stream.brings or not stream.answer.received:
            return
        stream.brings = True
        if not self._first_byte:
            self._first_byte = self.pace.monotonic() - stream.began
            self._can_split = self._allows_ranges(stream.answer)

    def _allows_ranges(self, answer: Answer) -> bool:
        """Whether the server takes ranges, and a splice of two versions of the object could not go unseen."""
        ranges = answer.status == _PARTIAL_CONTENT or answer.headers.get("accept-ranges", "").lower() == "bytes"
        told = self.partial.expected.digest or self.partial.if_range
        return bool(ranges and told and answer.resumable)

    def _learn(self) -> None:
        now = self.pace.monotonic()
        if not self._can_split or now < self._next_look:
            return
        self._next_look = now + _LEARN_SECONDS
        received = self.received + sum(stream.answer.received for stream in self._streams.values())
        bringing = sum(stream.brings for stream in self._streams.values())
        missing, lags = self.partial.missing or 0, self.partial.lags
        cpu = self.pace.thread_seconds()
        self._growth.look(Reading(now, cpu, received, missing, self._first_byte, lags=lags), bringing)
