"""Bytes that look like the files of a lab: small, seeded, and right in their first and last bytes.

numpy is no dependency at run time, so the `.npy` header is written by hand; numpy reads the result.
"""

from __future__ import annotations

import json
import struct
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    Maker = Callable[[Random, int], bytes]

_DESCR = {"d": "<f8", "h": "<i2"}


def npy(values: array[float] | array[int]) -> bytes:
    """Return a one-dimensional array as version 1.0 of numpy's format."""
    header = f"{{'descr': '{_DESCR[values.typecode]}', 'fortran_order': False, 'shape': ({len(values)},), }}"
    padded = header.ljust(-(10 + len(header) + 1) % 64 + len(header)) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode("latin-1") + values.tobytes()


def times(rng: Random, size: int) -> bytes:
    """Return an array of seconds that only grow."""
    return npy(array("d", map((1e-4).__mul__, accumulate(rng.randbytes(size // 8)))))


def levels(rng: Random, size: int) -> bytes:
    """Return an array of real numbers around zero."""
    return npy(array("d", map((1e-3).__mul__, array("h", rng.randbytes(size // 8 * 2)))))


def labels(rng: Random, size: int) -> bytes:
    """Return an array of integers."""
    return npy(array("h", rng.randbytes(size // 2 * 2)))


def parquet(rng: Random, size: int) -> bytes:
    """Return bytes between the two marks of a parquet file; nothing in the sandbox reads the table itself."""
    return b"PAR1" + rng.randbytes(size - 8) + b"PAR1"


def video(rng: Random, size: int) -> bytes:
    """Return an MP4 of two boxes: what it is, and its data."""
    kind = b"ftypisom" + struct.pack(">I", 512) + b"isomiso2mp41"
    data = b"mdat" + rng.randbytes(size - 36)
    return b"".join(struct.pack(">I", len(box) + 4) + box for box in (kind, data))


def noise(rng: Random, size: int) -> bytes:
    """Return compressed samples, which look like nothing at all."""
    return rng.randbytes(size)


def settings(rng: Random, size: int) -> bytes:
    """Return a JSON object of many numbers."""
    return json.dumps({f"PARAMETER_{i}": rng.random() for i in range(size // 37)}, indent=2).encode()


def commas(rng: Random, size: int) -> bytes:
    """Return a table with commas and a letter that is not ASCII."""
    return _table(rng, size, ",")


def tabs(rng: Random, size: int) -> bytes:
    """Return a table with tabs."""
    return _table(rng, size, "\t")


def nothing(_rng: Random, _size: int) -> bytes:
    """Return no byte at all."""
    return b""


def _table(rng: Random, size: int, mark: str) -> bytes:
    rows = (f"{i}{mark}{rng.random():.6f}{mark}µV" for i in range(size // 18))
    return "\n".join((mark.join(("index", "value", "unit")), *rows, "")).encode()
