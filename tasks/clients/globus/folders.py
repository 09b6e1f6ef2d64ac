"""Whole folders of a collection: what lies below one, file by file."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.clients.addresses import encode
from tasks.clients.globus.endpoints import parse_address
from tasks.clients.verdicts import error
from tasks.clients.verdicts.words import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clients.globus.login import Json
    from tasks.clients.globus.service import GlobusService

#: Letters; what is deeper has no place on Linux, and a collection may show folders in folders without end.
_LONGEST_PATH = 4096


@dataclass(frozen=True, slots=True)
class Listed:
    """A file below a folder.

    Attributes:
        path: Below the folder, as the collection calls it; not checked for safety.
        address: Its own address.
        size: Bytes, as the collection says.
    """

    path: str
    address: str
    size: int


def below(service: GlobusService, address: str) -> Iterator[Listed]:
    """Yield the files below a folder, one call a directory; links to directories are not followed.

    Raises:
        DownloadError: `not-addressable`, `not-found`, `globus-forbidden`, or what else Globus says of a directory;
            `protocol` for a listing that no file system has: it would lead elsewhere, or never end.
    """
    endpoint_id, top = parse_address(address)
    folders = deque([""])
    while folders:
        folder = folders.popleft()
        for entry in service.entries(endpoint_id, f"{top.rstrip('/')}/{folder}"):
            path = _path_of(entry, folder)
            if entry.get("type") == "dir":
                folders.append(f"{path}/")
            elif entry.get("type") == "file":
                yield Listed(path, address.rstrip("/") + encode(f"/{path}"), entry.get("size") or 0)


def _path_of(entry: Json, folder: str) -> str:
    name, size = entry.get("name"), entry.get("size") or 0
    plain = isinstance(name, str) and name not in ("", ".", "..") and "/" not in name
    if not plain or len(folder) > _LONGEST_PATH or not isinstance(size, int) or size < 0:
        row = shortened(f"{name!r} of {size!r} bytes")
        raise error("protocol", f"The listing of {shortened(f'/{folder}')} holds {row}.")
    return f"{folder}{name}"
