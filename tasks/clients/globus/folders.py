"""Whole folders of a collection: what lies below one, file by file."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.clients.addresses import encode
from tasks.clients.globus.endpoints import parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clients.globus.service import GlobusService


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
        DownloadError: `not-addressable`, `not-found`, `globus-forbidden`, or what else Globus says of a directory.
    """
    endpoint_id, top = parse_address(address)
    folders = deque([""])
    while folders:
        folder = folders.popleft()
        for entry in service.entries(endpoint_id, f"{top.rstrip('/')}/{folder}"):
            path = folder + str(entry["name"])
            if entry.get("type") == "dir":
                folders.append(f"{path}/")
            elif entry.get("type") == "file":
                yield Listed(path, address.rstrip("/") + encode(f"/{path}"), int(entry.get("size") or 0))
