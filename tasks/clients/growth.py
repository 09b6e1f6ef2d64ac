"""How many connections one file is worth: more, again and again, as long as the sum of them pays."""

from __future__ import annotations

from dataclasses import dataclass, field

#: A rate is taken over so long at least, and over so many times what a first byte takes: a far server takes longer.
_WINDOW_SECONDS = 0.1
_FIRST_BYTES = 1.5
#: From a server that is so far away, one connection brings what its window allows, and never what the line carries: the
#: first step is large. Elsewhere each step doubles.
_FAR_SECONDS = 0.02
_FAR_STEP = 16
_STEP = 2
#: Connections that bring bytes at one time, of those that are wanted: some are between two requests.
_ENOUGH = 0.75
#: What is over sooner than this needs no further connection.
WORTH_SECONDS = 0.5
#: The line, and not this machine, is the limit where the thread is busy for no more than so much of the time.
_BUSY = 0.5
#: More connections have to bring so many times the bytes, soon; else they are given up again, and
_PAYS = 1.2
_LOOKS = 3
#: tried again after so long, and each time after twice as long.
_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What is seen of a file on its way.

    Attributes:
        now: Seconds of a clock that never jumps.
        cpu: Seconds that the thread was busy so far.
        received: Bytes over all connections so far.
        missing: Bytes still to come.
        first_byte: Seconds from a request to its first byte.
        lags: Whether the digest is slower than the bytes.
    """

    now: float
    cpu: float
    received: int
    missing: int
    first_byte: float
    lags: bool = field(kw_only=True)


class Growth:
    """Decides how many connections are wanted, from what each stage brought.

    Args:
        limit: Connections at most.

    Attributes:
        wanted: How many there should be.
        rate: Bytes a second over all of them, as last seen.
        best: The most that one of them has brought a second.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.wanted = 1
        self.rate = 0.0
        self.best = 0.0
        self._before = (1, 0.0)
        self._looks = 0
        self._since: Reading | None = None
        self._patience = _PATIENCE_SECONDS
        self._not_before = 0.0

    def look(self, reading: Reading, bringing: int) -> None:
        """Learn what is seen, and how many connections bring bytes; a stage is judged from when all of them do."""
        since = self._since
        if since is None:
            self._since = reading if bringing >= _ENOUGH * self.wanted else None
        elif reading.now - since.now >= self._window(reading):
            self._judge(since, reading)

    def no_room(self, running: int) -> None:
        """Learn that the host has no connection to spare besides so many."""
        self._want(running)
        self._stand(running, 0.0)

    def lost(self, running: int, now: float, *, refused: bool) -> None:
        """Learn that a connection broke while so many others run on; there are more later, unless it was refused."""
        self.no_room(max(1, running))
        self._wait(now)
        if refused:
            self.limit = self.wanted

    def _window(self, reading: Reading) -> float:
        """The first stage is short: what one connection brings from far away only grows with time."""
        return _WINDOW_SECONDS if self.wanted == 1 else max(_WINDOW_SECONDS, _FIRST_BYTES * reading.first_byte)

    def _judge(self, since: Reading, reading: Reading) -> None:
        seconds = reading.now - since.now
        self._since = reading
        self.rate = (reading.received - since.received) / seconds
        self.best = max(self.best, self.rate / self.wanted)
        connections, rate = self._before
        if self.wanted > connections and self.rate < rate * _PAYS:
            self._give_up(reading.now)
        elif self._is_worth_more(reading, (reading.cpu - since.cpu) / seconds):
            self._stand(self.wanted, self.rate)
            self._want(min(self.wanted * self._step(reading), self.limit))
        else:
            self._stand(self.wanted, self.rate)

    def _step(self, reading: Reading) -> int:
        return _FAR_STEP if self.wanted == 1 and reading.first_byte >= _FAR_SECONDS else _STEP

    def _stand(self, connections: int, rate: float) -> None:
        """Take this for what is to be surpassed."""
        self._before = (connections, rate)
        self._looks = 0

    def _want(self, connections: int) -> None:
        self.wanted = connections
        self._since = None

    def _give_up(self, now: float) -> None:
        """Go back to what was before, if it has been looked at often enough."""
        self._looks += 1
        if self._looks >= _LOOKS:
            self._want(self._before[0])
            self._stand(self.wanted, 0.0)
            self._wait(now)

    def _wait(self, now: float) -> None:
        self._not_before = now + self._patience
        self._patience *= 2

    def _is_worth_more(self, reading: Reading, busy: float) -> bool:
        room = self.wanted < self.limit and reading.now >= self._not_before
        return room and busy <= _BUSY and not reading.lags and reading.missing > WORTH_SECONDS * self.rate
