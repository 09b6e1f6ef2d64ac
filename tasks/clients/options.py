"""How patient the wire is, and how many connections it may open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.clients.metered import UNHURRIED_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class WireOptions:
    """How patient the wire is.

    Attributes:
        attempts: Requests in a row without progress, before the source is given up.
        connect_seconds: Longest wait for a connection, TLS included.
        stall_seconds: So long may bytes come slower than `stall_bytes_per_second`.
        bytes_per_second: Limit of one connection's speed, and then a file has one connection only; None for none.
        stall_bytes_per_second: Below it a connection counts as stalled.
        deadline_seconds: Longest time for one file, retries and waits included, plus `seconds_per_mib` for each
            MiB of its size (the rule of FTS3).
        meter: Called with how many bytes came, and waits as long as a limit shared with others wants; None for none.
        allow_hosts: Names, addresses or networks that may be asked though they are link-local, a cloud's metadata, or
            this machine under another name; see :mod:`tasks.clients.reach`.
        connections: To one host at most. A large file gets further ones while others leave them unused, and no limit
            is set to its speed.
        split_bytes: Only what is as large gets more than one connection.
    """

    attempts: int = 5
    connect_seconds: float = 10
    stall_seconds: float = 60
    bytes_per_second: int | None = None
    stall_bytes_per_second: int = 10_000
    deadline_seconds: float = 600
    seconds_per_mib: float = 2
    meter: Callable[[int], None] | None = field(default=None, compare=False)
    allow_hosts: tuple[str, ...] = ()
    connections: int = 8
    split_bytes: int = 32 << 20

    def __post_init__(self) -> None:
        patience = ("attempts", "connect_seconds", "stall_seconds", "stall_bytes_per_second", "deadline_seconds")
        for name in (*patience, "connections", "split_bytes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"WireOptions.{name} must be more than 0, not {getattr(self, name)!r}.")
        if self.bytes_per_second is not None and self.bytes_per_second <= 0:
            raise ValueError("WireOptions.bytes_per_second must be more than 0, or None for no limit.")

    def deadline(self, size: int | None) -> float:
        """Seconds that a file of this size may take in all; where bytes are metered, waiting is not its fault."""
        if self.meter:
            return UNHURRIED_SECONDS
        return self.deadline_seconds + self.seconds_per_mib * (size or 0) / 2**20

    @property
    def allows_several(self) -> bool:
        """Whether one file may have more than one connection."""
        return self.connections > 1 and not self.bytes_per_second and not self.meter
