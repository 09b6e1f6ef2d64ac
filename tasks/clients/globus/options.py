"""How a managed Globus transfer goes about its work."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class GlobusOptions:
    """Sizes and patience of managed transfers.

    Attributes:
        batch_files: Files of one task. A choice of ours: Globus names no limit.
        batch_bytes: Bytes of one task; a larger file is a task of its own.
        in_flight: Tasks at a time. Globus works on three of a user, and queues the rest.
        deadline_seconds: Longest life of one task, on top of what its bytes take at `slowest_bytes_per_second`.
        stall_seconds: Longest time without any progress, on top of what the largest file takes to be read
            twice at `checksum_bytes_per_second`: a file that is being verified shows no progress.
        offline_seconds: Longest wait for a personal endpoint that went away.
        idle_rounds: Tasks in a row for what the one before left, that get nothing done.
        encrypt: Whether the bytes travel encrypted.
        external_checksum: Whether Globus compares with Alyx's digests too. One that differs ends a whole task;
            without, the digests are compared here, file by file.
    """

    batch_files: int = 5_000
    batch_bytes: int = 2 * 10**12
    in_flight: int = 3
    deadline_seconds: float = 24 * 3600
    stall_seconds: float = 15 * 60
    offline_seconds: float = 5 * 60
    slowest_bytes_per_second: float = 1e6
    checksum_bytes_per_second: float = 100e6
    idle_rounds: int = 3
    encrypt: bool = False
    external_checksum: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, bool) and not value > 0:
                raise ValueError(f"GlobusOptions.{field.name} must be more than 0, not {value!r}.")

    def deadline(self, size: int) -> float:
        """Seconds that a task of so many bytes may live."""
        return self.deadline_seconds + size / self.slowest_bytes_per_second

    def stall(self, largest: int) -> float:
        """Seconds that a task whose largest file has so many bytes may show no progress."""
        return self.stall_seconds + 2 * largest / self.checksum_bytes_per_second
