"""How long to go on: attempts without progress, time in all, and hosts that ask to wait."""

from __future__ import annotations

import threading
from math import inf
from typing import TYPE_CHECKING

from tasks.clients.verdicts import DownloadError, Verdict, error

if TYPE_CHECKING:
    from tasks.clients.seams import Pace

#: An attempt that moved so much counts as progress; less (a byte before each reset) does not renew the budget.
PROGRESS_BYTES = 64 * 1024
#: A digest that is wrong once may be the line's fault; the same wrong digest twice is not, and so many of any kind.
MOST_MISMATCHES = 2


class Holds:
    """Hosts that asked for patience, and until when; one for all clients of a process."""

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Whether any host asked at all."""
        return bool(self._until)

    def set(self, host: str, until: float, window: float) -> None:
        """Remember that a host is not to be asked before `until`, and then spread over `window` seconds."""
        with self._lock:
            self._until[host] = max(self._until.get(host, (0.0, 0.0)), (until, window))

    def seconds(self, host: str, pace: Pace) -> float:
        """Seconds to wait for a host, jitter included; 0 where nothing is asked."""
        until, window = self._until.get(host, (0.0, 0.0))
        left = until - pace.monotonic()
        return left + pace.uniform(0.0, window) if left > 0 else 0.0

    def are_asked(self, host: str, pace: Pace) -> bool:
        """Whether a host asked to be left alone for now."""
        return self._until.get(host, (0.0, 0.0))[0] > pace.monotonic()


HOLDS = Holds()


class Budget:
    """What one file may still cost.

    Args:
        pace: Clock, dice and stop signal.
        holds: Which hosts asked for patience.
        attempts: Requests in a row without progress.
        seconds: Time in all, waits included.
        longest_wait: What a server may ask to wait at once. A large file, or one whose speed is limited, has hours or
            days; but none of them to wait for a server that names a time nobody can believe.
    """

    def __init__(self, pace: Pace, holds: Holds, *, attempts: int, seconds: float, longest_wait: float = inf) -> None:
        self.pace = pace
        self.holds = holds
        self.attempts = attempts
        self.idle = 0
        self.mismatches = 0
        self.end = pace.monotonic() + seconds
        self.longest_wait = longest_wait

    def seconds_left(self) -> float:
        """Time that is left; never nothing, since 0 means no limit to libcurl."""
        return max(0.001, self.end - self.pace.monotonic())

    def spend(self, failure: DownloadError, progress: int) -> None:
        """Wait before the next attempt; raise `failure` when there is to be none."""
        if failure.verdict is not Verdict.RETRY:
            raise failure
        self.idle = 0 if progress >= PROGRESS_BYTES else self.idle + 1
        wait = failure.retry_after or self.pace.backoff(self.idle)
        if self.idle >= self.attempts or not self._may_wait(wait):
            raise failure
        if not failure.retry_after:
            self.pace.wait(wait)

    def heed(self, failure: DownloadError, host: str) -> None:
        """Hold a host for as long as it asks, for all threads; they come back spread over as long again.

        A wait that is too long for this file is taken for an answer about this file: the others ask for themselves.
        """
        wait = failure.retry_after
        if failure.verdict is Verdict.RETRY and wait and self._may_wait(wait):
            self.holds.set(host, self.pace.monotonic() + wait, wait)

    def _may_wait(self, seconds: float) -> bool:
        return seconds <= min(self.longest_wait, self.seconds_left())

    def wait_for(self, host: str) -> None:
        """Wait as long as the host asked for, unless that is longer than the file may take."""
        wait = self.holds.seconds(host, self.pace)
        if wait > self.seconds_left():
            detail = f"{host} asks to wait {wait:,.0f} s, longer than this file may take."
            raise error("throttled", detail, retry_after=wait)
        self.pace.wait(wait)

    def mismatch(self, failure: DownloadError, *, certain: bool) -> None:
        """Go on after bytes that are not the file, or raise.

        A prefix of unknown worth may be at fault, or the line; so the file is fetched from its beginning once more.
        Where another source waits, that one is asked first, and this one may be asked again later.

        Raises:
            DownloadError: `failure` when it is certain; else the same to be retried, when there is no attempt left.
        """
        self.mismatches += 1
        if certain or self.mismatches > MOST_MISMATCHES:
            raise failure
        if self.attempts == 1:
            raise DownloadError(Verdict.RETRY, failure.reason, failure.next_step, code=failure.code)
