"""What the server saw of a request, and the gates that look at all of them before any object is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from deployments.sandbox.faults.answers import Answer, Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import Message


@dataclass(slots=True)
class Hit:
    """One request that the server saw.

    Attributes:
        path: The object's path, unquoted, without the bucket.
        headers: As they came; names in any case.
        at: When it came, seconds of the server's clock.
        connection: Number of the connection that it came over, from 1.
        body: What the client sent along.
        held: A gate answered it, and not the object's script.
        status: Of the answer.
        sent: Body bytes handed to the connection so far.
    """

    method: str
    path: str
    query: str
    headers: Message
    at: float
    connection: int
    s3: bool
    body: bytes = b""
    held: bool = False
    status: int = 0
    sent: int = 0

    @property
    def credentials(self) -> str:
        """Who asks: session token, access key or Authorization; the same for all requests of one login."""
        said = {name.lower(): values[0] for name, values in parse_qs(self.query).items()}
        said |= {name.lower(): value for name, value in self.headers.items()}
        login = said.get("authorization") or said.get("x-amz-credential") or said.get("awsaccesskeyid", "")
        key = re.search(r"Credential=([^,\s]+)", login)
        return said.get("x-amz-security-token") or (key[1] if key else login)


class Gate(Protocol):
    """Answers in the place of any object, for reasons that lie in the requests so far."""

    def answer(self, hits: Sequence[Hit]) -> Answer | None:
        """Return the answer to the last of all requests; None lets it in."""
        ...


_WAIT, _FORBIDDEN = Status(429, retry_after="1"), Status(403)


@dataclass(frozen=True, slots=True)
class AtMost:
    """Lets in so many requests a window of so many seconds, and asks the rest to wait."""

    requests: int
    seconds: float
    otherwise: Answer = _WAIT

    def answer(self, hits: Sequence[Hit]) -> Answer | None:
        """Hold the request where the window is full."""
        since = hits[-1].at - self.seconds
        let_in = sum(not hit.held and hit.at > since for hit in hits[:-1])
        return self.otherwise if let_in >= self.requests else None


@dataclass(frozen=True, slots=True)
class Expire:
    """Credentials are good for so many requests; a request with new ones is let in again."""

    after: int
    otherwise: Answer = _FORBIDDEN

    def answer(self, hits: Sequence[Hit]) -> Answer | None:
        """Hold the request where its credentials are used up."""
        used = sum(hit.credentials == hits[-1].credentials for hit in hits[:-1])
        return self.otherwise if used >= self.after else None
