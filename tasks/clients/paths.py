"""Which registered paths are safe places under a root. Pure: nothing here touches the disk."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from tasks.clients.tree import OURS
from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 255  # bytes: what ext4, XFS, APFS and NTFS hold at most as one name
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_SHORT = re.compile(r"prefec~[0-9]+")  # what a Windows server calls OURS besides, in eight letters


def safe_path(relative: str) -> str:
    """Return a registered path unchanged when it is a plain place under a root, on every file system.

    ALF's `#revision#`, spaces and letters of any script are legal. Whether a symlink stands on the way
    is asked by publish, at the moment of use.

    Raises:
        DownloadError: `bad-path`, saying what is wrong with which path.
    """
    folder, slash, name = relative.rpartition("/")
    fault = _fault(name) or (slash and _folder_fault(folder))
    if fault:
        raise error("bad-path", f"{relative!a} {fault}.")
    return relative


def fold(path: str) -> str:
    """Return what a file system that ignores case and Unicode form makes of a path: equal means one file."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def _visible(name: str) -> str:
    """Fold a name, and drop the invisible characters that HFS+ ignores."""
    folded = fold(name)
    return folded if folded.isascii() else "".join(char for char in folded if unicodedata.category(char) != "Cf")


#: What makes a name unsafe; the first that applies is told.
_FAULTS: dict[str, Callable[[str], object]] = {
    "has an empty part, or . or ..": lambda name: name in ("", ".", ".."),
    "holds a character that is not printable": _UNPRINTABLE.search,
    "holds a backslash or a colon, which are a separator and a drive elsewhere": lambda name: {"\\", ":"} & set(name),
    "has a part that ends in a dot or a space, which Windows drops": lambda name: name[-1] in ". ",
    f"has a part of more than {_LONGEST} bytes": lambda name: len(name.encode()) > _LONGEST,
    "has a part that is a device on Windows": _RESERVED.fullmatch,
    f"leads into {OURS}, which is not for datasets": lambda name: (
        _visible(name) == OURS or _SHORT.fullmatch(_visible(name))
    ),
}


@lru_cache(maxsize=65536)  # labs, dates and ALF names come back thousands of times
def _fault(name: str) -> str:
    return next((fault for fault, applies in _FAULTS.items() if applies(name)), "")


@lru_cache(maxsize=4096)  # the files of a folder come one after another
def _folder_fault(folder: str) -> str:
    if folder == "" or folder[0] == "/":
        return "is absolute"
    return next(filter(None, map(_fault, folder.split("/"))), "")
