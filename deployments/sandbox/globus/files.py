"""What a transfer does to files on this machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

EXISTS, SIZE, MTIME, CHECKSUM = range(4)


def copy_piece(source: Path, target: Path, offset: int, length: int) -> int:
    """Copy some bytes in place, at the same offset; how many there were."""
    if offset == 0:
        target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("r+b" if offset else "wb") as writer:
        reader.seek(offset)
        writer.seek(offset)
        return writer.write(reader.read(length))


def digest(path: Path, algorithm: str) -> str:
    """Hex digest; `algorithm` as Globus writes it, `MD5` or `SHA1`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm.lower().replace("-", "")).hexdigest()


def corrupt(path: Path) -> None:
    """Turn over the last byte."""
    with path.open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)[0]
        stream.seek(-1, 2)
        stream.write(bytes([last ^ 0xFF]))


def in_sync(level: int | None, source: Path, target: Path) -> bool:
    """Whether a sync level finds the target good."""
    if level is None or not target.is_file():
        return False
    if level >= SIZE and source.stat().st_size != target.stat().st_size:
        return False
    if level == MTIME:
        return source.stat().st_mtime <= target.stat().st_mtime
    return level != CHECKSUM or digest(source, "MD5") == digest(target, "MD5")
