"""Faults on demand, in two layers: what a request meets, and what a path meets while it is moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from deployments.sandbox.globus.store import Json


@dataclass
class HttpFault:
    """What the next matching requests meet.

    Attributes:
        match: Method and path, with wildcards: `POST /v0.10/transfer`, `GET /v0.10/task/*`.
        kind: `status` answers `status`, `body` and `headers`; `delay` answers `seconds` late;
            `drop_before` closes the connection unread; `drop_after` does the work and then closes it.
        times: How often; None is for ever.
    """

    match: str
    kind: Literal["status", "delay", "drop_before", "drop_after"] = "status"
    status: int = 503
    body: Json = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    times: int | None = 1


@dataclass
class PathFault:
    """What the next matching paths meet.

    Attributes:
        path: The source path (or the destination path, for `side="destination"`), with wildcards.
        op: `scan`, `copy`, or `any`.
        code: An event code (`PERMISSION_DENIED`, `FILE_NOT_FOUND`, `ENDPOINT_ERROR`, `TIMEOUT`,
            `QUOTA_EXCEEDED`, ...), or `STALL` (stops in mid-file and says nothing; for ever, with `times` None),
            `CORRUPT` (a byte is turned over on the way), `FAIL_TASK` (the task fails at once).
        times: How often; None is for ever.
    """

    path: str
    code: str
    op: Literal["scan", "copy", "any"] = "copy"
    side: Literal["source", "destination"] = "source"
    details: str = ""
    times: int | None = 1


#: Faults of which the service itself knows nothing.
QUIET = ("STALL", "CORRUPT")

Fault = TypeVar("Fault", HttpFault, PathFault)


class Faults:
    """The faults that are set; each is used up by what it hits."""

    def __init__(self) -> None:
        self.http: list[HttpFault] = []
        self.path: list[PathFault] = []

    def clear(self) -> None:
        """Behave again."""
        self.http.clear()
        self.path.clear()

    def hit_request(self, request: str) -> HttpFault | None:
        """The fault that this request meets, used up by once."""
        return self._use([fault for fault in self.http if fnmatchcase(request, fault.match)])

    def hit_path(self, op: str, source: str, destination: str, *, quiet: str = "") -> PathFault | None:
        """The fault that this path meets, used up by once.

        `quiet` looks for this code of `QUIET` alone; without it, for all those that the event list tells.
        """
        sides = {"source": source, "destination": destination}
        return self._use(
            [
                fault
                for fault in self.path
                if fault.op in (op, "any")
                and (fault.code == quiet if quiet else fault.code not in QUIET)
                and fnmatchcase(sides[fault.side], fault.path)
            ]
        )

    @staticmethod
    def _use(candidates: list[Fault]) -> Fault | None:
        for fault in candidates:
            if fault.times is None:
                return fault
            if fault.times > 0:
                fault.times -= 1
                return fault
        return None
