"""What proves a file: its size and its digest as registered, or sane content where there is no digest."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Self

from tasks.clients.digest import Digest
from tasks.clients.verdicts import error

#: Alyx has one field for both; the length tells which (reference: alyx-and-one 6).
ALGORITHMS = {32: "md5", 40: "sha1"}
_HEX = frozenset("0123456789abcdef")
_HASHERS = {32: hashlib.md5, 40: hashlib.sha1}

#: First bytes by suffix, where the format fixes them; rare forms too, since what is refused here can be had nowhere.
#: A file of another suffix is only checked against `PAGES`: HDF5, say, may begin with a block of somebody else's.
MAGIC: dict[str, tuple[int, tuple[bytes, ...]]] = {
    ".npy": (0, (b"\x93NUMPY",)),
    ".npz": (0, (b"PK\x03\x04", b"PK\x05\x06")),
    ".pqt": (0, (b"PAR1", b"PARE")),
    ".parquet": (0, (b"PAR1", b"PARE")),
    ".mp4": (4, (b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid", b"sidx")),
    ".avi": (0, (b"RIFF",)),
    ".wav": (0, (b"RIFF", b"RF64", b"BW64", b"RIFX")),
    ".gz": (0, (b"\x1f\x8b",)),
    ".zip": (0, (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")),
    ".tif": (0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ".tiff": (0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ".png": (0, (b"\x89PNG",)),
    ".pdf": (0, (b"%PDF",)),
}
#: How a page or an error document begins, blanks and a byte-order mark aside, lower case.
PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error", b"<body", b"<title")
#: Suffixes whose files may begin like a page.
MARKUP = (".html", ".htm", ".xml", ".svg", ".xhtml")
#: How many first bytes `Expected.check` wants to see.
HEAD_BYTES = 512


class Expected(NamedTuple):
    """What Alyx registers of one file's bytes.

    Attributes:
        size: Bytes, or None where Alyx does not know.
        digest: Lower-case hex digits, "" where Alyx has none.
    """

    size: int | None = None
    digest: str = ""

    @classmethod
    def of(cls, size: int | None, digest: str | None) -> Self:
        """Normalise what Alyx registers: dashes go, case goes.

        Raises:
            DownloadError: `bad-digest` for anything that is neither md5 nor sha1.
        """
        text = (digest or "").replace("-", "").strip().lower()
        if text and (len(text) not in ALGORITHMS or not _HEX.issuperset(text)):
            raise error("bad-digest", f"It says {digest!r}.")
        return cls(size, text)

    @property
    def algorithm(self) -> str:
        """md5, sha1, or "" without a digest."""
        return ALGORITHMS.get(len(self.digest), "")

    @property
    def verified(self) -> str:
        """How a file that passes :meth:`check` is proven, in the ledger's words."""
        return self.algorithm or "size"

    def hasher(self) -> Digest | None:
        """A fresh digest object, or None where there is nothing to compare with."""
        hasher = _HASHERS.get(len(self.digest))
        return Digest(hasher(usedforsecurity=False)) if hasher else None

    def check(self, size: int, digest: str, head: bytes, name: str) -> None:
        """Compare what was received with what is registered.

        Args:
            size: Bytes received.
            digest: Hex digest of all of them, with this object's algorithm; "" without one.
            head: The first `HEAD_BYTES` of them.
            name: File name, for its suffix.

        Raises:
            DownloadError: `size-mismatch`, `digest-mismatch` or `not-data`.
        """
        if self.size is not None and size != self.size:
            raise error("size-mismatch", f"Alyx registers {self.size:,} bytes, {size:,} came.")
        if self.digest and digest != self.digest:
            if looks_like_a_page(head, name):
                raise error("not-data", f"{name} begins like a web page.")
            raise error("digest-mismatch", f"Alyx registers {self.algorithm} {self.digest}, {digest} came.")
        if not self.digest and not looks_sane(head, name, size):
            raise error("not-data", f"{name} does not begin as its suffix demands, and Alyx has no digest to compare.")


def suffix(name: str) -> str:
    """The last suffix, lower case, dot included."""
    stem, dot, last = name.rpartition(".")
    return f".{last.lower()}" if dot and stem else ""


def looks_like_a_page(head: bytes, name: str) -> bool:
    """Whether the bytes begin like HTML or XML though the name promises something else."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return suffix(name) not in MARKUP and start.startswith(PAGES)


def looks_sane(head: bytes, name: str, size: int) -> bool:
    """Whether the first bytes fit the suffix; an empty file is sane, as Alyx registers some."""
    if size == 0:
        return True
    offset, starts = MAGIC.get(suffix(name), (0, (b"",)))
    return head[offset:].startswith(starts) and not looks_like_a_page(head, name)
