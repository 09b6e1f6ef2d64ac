"""What Alyx asks of every request before it looks at it: a format, a login, the right to write, patience."""

from __future__ import annotations

import hashlib
import math
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

_JSON, _HTML = "application/json", "text/html"
_SAFE = ("GET", "HEAD", "OPTIONS")


class Refusal(Exception):  # noqa: N818  (an answer, which happens to be raised)
    """An answer other than the one that was asked for.

    Args:
        status: HTTP status.
        body: What Alyx says, as JSON; a text becomes `detail`.
    """

    def __init__(self, status: int, body: str | dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = {"detail": body} if isinstance(body, str) else body
        self.headers = headers or {}


@dataclass(slots=True)
class Accounts:
    """Users and their tokens: the same at every login, valid until they are made invalid.

    Attributes:
        passwords: By user name; a test may change them.
        readers: Users who may not write.
    """

    passwords: dict[str, str]
    readers: frozenset[str] = frozenset()
    generation: int = 0

    def login(self, user: str, password: str) -> str | None:
        """Return the token, or None."""
        return self.token(user) if self.passwords.get(user) == password else None

    def token(self, user: str) -> str:
        """Return a user's token."""
        return hashlib.sha1(f"sandbox/{self.generation}/{user}".encode()).hexdigest()

    def invalidate(self) -> None:
        """Make all tokens invalid, so that a new login is due."""
        self.generation += 1

    def user(self, authorization: str | None) -> str:
        """Return whose token this header has.

        Raises:
            Refusal: 403 and never 401, told apart by its `detail`.
        """
        words = (authorization or "").split()
        if not words or words[0].lower() != "token":
            raise Refusal(403, "Authentication credentials were not provided.")
        if len(words) == 1:
            raise Refusal(403, "Invalid token header. No credentials provided.")
        if len(words) > 2:  # noqa: PLR2004  (scheme and token)
            raise Refusal(403, "Invalid token header. Token string should not contain spaces.")
        for user in self.passwords:
            if self.token(user) == words[1]:
                return user
        raise Refusal(403, "Invalid token.")

    def check_right(self, user: str, method: str) -> None:
        """Refuse the writing of those who only read."""
        if user in self.readers and method not in _SAFE:
            raise Refusal(403, "You do not have permission to perform this action.")


@dataclass(slots=True)
class Throttle:
    """Requests that a user may make in a minute; nobody is throttled until `limit` or `refuse` says so.

    Attributes:
        limit: Requests a window, or None. The real server has 550.
        window: Seconds.
        clock: Seconds of a clock that never jumps.
    """

    limit: int | None = None
    window: float = 60.0
    clock: Callable[[], float] = time.monotonic
    _seen: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    _refusals: int = 0
    _wait: int = 0

    def refuse(self, requests: int, wait: int = 1) -> None:
        """Refuse the next requests, whoever makes them, and ask for so many seconds of patience."""
        self._refusals, self._wait = requests, wait

    def check(self, user: str) -> None:
        """Count a request.

        Raises:
            Refusal: 429, with the seconds to wait.
        """
        if self._refusals > 0:
            self._refusals -= 1
            raise _patience(self._wait)
        if self.limit is None:
            return
        now, seen = self.clock(), self._seen[user]
        while seen and seen[0] <= now - self.window:
            seen.popleft()
        if len(seen) >= self.limit:
            raise _patience(math.ceil(seen[0] + self.window - now))
        seen.append(now)


def _patience(seconds: int) -> Refusal:
    text = f"Request was throttled. Expected available in {seconds} second{'s' * (seconds != 1)}."
    return Refusal(429, text, {"Retry-After": str(seconds)})


def negotiate(request: Request) -> str:
    """Return the type of the answer.

    Raises:
        Refusal: 406.
    """
    wanted = {part.partition(";")[0].strip() for part in request.headers.get("Accept", "*/*").split(",")}
    if _JSON in wanted:
        return _JSON
    if _HTML in wanted:
        return _HTML
    if wanted & {"*/*", "application/*"}:
        return _JSON
    if "text/*" in wanted:
        return _HTML
    raise Refusal(406, "Could not satisfy the request Accept header.", {"Vary": "Accept"})
