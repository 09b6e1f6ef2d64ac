"""Which registered paths are safe places under a root. Pure: nothing here touches the disk."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from tasks.clients.verdicts import error

#: The folder under a root that is ours: ledger, plans, partials, quarantine.
OURS = ".prefect-alyx"

_LONGEST = 255  # bytes: what ext4, XFS, APFS and NTFS hold at most as one name
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)


def safe_path(relative: str) -> str:
    """Return a registered path unchanged when it is a plain place under a root, on every file system.

    ALF's `#revision#`, spaces and letters of any script are legal. Whether a symlink stands on the way
    is asked by publish, at the moment of use.

    Raises:
        DownloadError: `bad-path`, saying what is wrong with which path.
    """
    for name in relative.split("/"):
        fault = _fault(name)
        if fault:
            raise error("bad-path", f"{relative!a} {_ROOTED if relative.startswith('/') else fault}.")
    return relative


def fold(path: str) -> str:
    """Return what a file system that ignores case and Unicode form makes of a path: equal means one file."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


_ROOTED = "is absolute"


@lru_cache(maxsize=65536)  # labs, subjects, dates and ALF names come back thousands of times
def _fault(name: str) -> str:
    """Return what makes a name unsafe, "" for a good one."""
    if name in ("", ".", ".."):
        return f"has the part {name!r}"
    if _UNPRINTABLE.search(name):
        return "holds a character that is not printable"
    if "\\" in name or ":" in name:
        return "holds a backslash or a colon: elsewhere a separator or a drive"
    if name[-1] in ". ":
        return "has a part that ends in a dot or a space, which Windows drops"
    if len(name.encode()) > _LONGEST:
        return f"has a part of more than {_LONGEST} bytes"
    if _RESERVED.fullmatch(name):
        return f"has the part {name!r}, which is a device on Windows"
    return f"leads into {OURS}, which is not for datasets" if _visible(name) == OURS else ""


def _visible(name: str) -> str:
    """Fold a name, and drop the invisible characters that HFS+ ignores."""
    return "".join(char for char in fold(name) if unicodedata.category(char) != "Cf")
