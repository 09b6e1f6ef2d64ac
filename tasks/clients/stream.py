"""One of the requests that bring a large file together: what came, where it is to end, and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.clients.growth import WORTH_SECONDS
from tasks.clients.pieces import Span

if TYPE_CHECKING:
    from tasks.clients.answer import Answer
    from tasks.clients.sending import Sending

#: What a connection holds in memory before it is written.
_HELD_BYTES = 1 << 20
#: A connection is a straggler when another would bring its bytes so many times sooner, and it had so long to show it.
_STRAGGLES = 4.0
_STRAGGLER_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class Stream:
    """One request on its way.

    Attributes:
        asked: The bytes that it asked for.
        stop: Where it is to end now.
        borrowed: Whether it uses a connection that others left unused.
        brings: Whether bytes have come.
    """

    answer: Answer
    host: str
    asked: Span
    began: float
    borrowed: bool
    stop: int = field(init=False)
    sending: Sending = field(init=False)
    brings: bool = False
    is_done: bool = False
    is_refused: bool = False
    _held: list[bytes] = field(default_factory=list)
    _held_bytes: int = 0

    def __post_init__(self) -> None:
        self.stop = self.asked.stop

    @property
    def rest(self) -> Span:
        """The bytes that it is still to bring."""
        return Span(min(self.answer.at, self.stop), self.stop)

    def take(self, data: bytes) -> int | None:
        """Libcurl's callback; 0 ends the transfer."""
        self._held.append(data)
        self._held_bytes += len(data)
        return self.hand_on() if self._held_bytes >= _HELD_BYTES else None

    def hand_on(self) -> int | None:
        """Write what came, up to where the stream is to end now; 0 when it has ended."""
        if not self._held:
            return None
        data, self._held, self._held_bytes = b"".join(self._held), [], 0
        if self.stop < self.asked.stop:
            data = data[: max(0, self.stop - self.answer.at)]
        self.is_refused = bool(data) and self.answer.on_body(data) == 0
        self.is_done = self.stop < self.asked.stop and self.answer.at >= self.stop
        return 0 if self.is_refused or self.is_done else None

    def seconds_left(self, now: float) -> float:
        """How long it will still take at its own pace."""
        brought = self.answer.at - self.asked.start
        return self.rest.size * (now - self.began) / brought if brought > 0 else float("inf")

    def straggles(self, now: float, best: float) -> bool:
        """Whether another connection, of which the best brings so much a second, would bring the rest much sooner."""
        another = WORTH_SECONDS + self.rest.size / max(1.0, best)
        return now - self.began > _STRAGGLER_SECONDS and self.seconds_left(now) > _STRAGGLES * another
