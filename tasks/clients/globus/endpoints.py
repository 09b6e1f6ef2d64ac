"""Globus endpoints: which one a repository is, what a registered path is called there, and what an address says.

An address is `globus://<endpoint id>/<path on it, percent-encoded once>`; it names the collection, so that
files of many repositories can travel in one task.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from uuid import UUID

from tasks.clients.addresses import encode, names_carry_uuid, server_path
from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import PurePath

    from tasks.clients.base import RestClient

_SCHEME = "globus://"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Globus endpoint or collection, seen from one repository.

    Attributes:
        id: Its UUID, of whichever version, lower case.
        root: Directory of the repository on it, as Globus writes paths.
        label: Name of the repository; "" for one that is known by UUID alone.
        names_carry_uuid: Whether file names there hold the dataset's UUID.
    """

    id: str
    root: str = "/"
    label: str = ""
    names_carry_uuid: bool = True

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Endpoint:
        """The endpoint of a data repository, as Alyx answers it.

        Raises:
            DownloadError: `not-addressable`, where it has no endpoint or no UUID for one.
        """
        name, endpoint_id = record.get("name") or "", record.get("globus_endpoint_id")
        if not endpoint_id:
            raise error("not-addressable", f"Repository {name} has no Globus endpoint (globus_endpoint_id).")
        root = globus_root(record.get("globus_path") or "/")
        personal = record.get("globus_is_personal")
        return cls(endpoint_uuid(endpoint_id, f"Repository {name}"), root, name, names_carry_uuid(personal))

    def address(self, data_path: str, dataset_id: str | None) -> str:
        """The address of a registered path.

        Raises:
            DownloadError: `bad-path`.
        """
        relative = server_path(data_path, dataset_id if self.names_carry_uuid else None)
        return f"{_SCHEME}{self.id}{encode(self.root.rstrip('/') + '/' + relative)}"


def parse_address(address: str) -> tuple[str, str]:
    """Endpoint id and raw path of an address.

    Raises:
        DownloadError: `not-addressable`, for any other text.
    """
    endpoint_id, slash, path = address.removeprefix(_SCHEME).partition("/")
    if not address.startswith(_SCHEME) or not slash:
        raise error("not-addressable", f"{address!r} is no Globus address.")
    return endpoint_uuid(endpoint_id, "The address"), "/" + unquote(path)


def endpoint_uuid(text: object, whose: str) -> str:
    """A UUID of any version as Globus writes it: old endpoints have version 1, collections version 4 or 5.

    Raises:
        DownloadError: `not-addressable`, for what is no UUID.
    """
    try:
        return str(UUID(str(text)))
    except ValueError:
        raise error("not-addressable", f"{whose} names the Globus endpoint {text!r}, which is no UUID.") from None


def globus_root(path: str) -> str:
    """A repository's `globus_path` as Globus writes paths; a relative one begins in the endpoint's home."""
    if path.startswith("/"):
        return path
    if PureWindowsPath(path).drive:
        return globus_path(PureWindowsPath(path))
    return f"/~/{path.removeprefix('~').lstrip('/')}"


def globus_path(path: PurePath) -> str:
    r"""An absolute path of this or another machine as Globus writes it: `E:\data` is `/E/data`.

    Raises:
        DownloadError: `not-addressable`, for a relative path or a network share.
    """
    drive = path.drive.removesuffix(":")
    if not path.is_absolute() or drive.startswith("\\"):
        raise error("not-addressable", f"Globus has no name for the path {path}: it must be absolute, on a drive.")
    if isinstance(path, PureWindowsPath):
        return str(PurePosixPath("/", drive, *path.parts[1:]))
    return path.as_posix()


def endpoints_from_alyx(alyx: RestClient) -> list[Endpoint]:
    """The endpoints of all data repositories that have one; those with a broken one are left out."""
    records = alyx.rest("data-repository", "list")
    return [Endpoint.of_record(record) for record in records if _is_uuid(record.get("globus_endpoint_id"))]


def find_endpoint(endpoints: Iterable[Endpoint], name: str | UUID) -> Endpoint:
    """The endpoint of a label or a UUID; a UUID that no repository has is an endpoint all the same.

    Raises:
        DownloadError: `not-addressable`, for a label that nobody has, or a UUID that several repositories
            use with different directories.
    """
    known = list(endpoints)
    if not _is_uuid(name):
        labelled = [endpoint for endpoint in known if endpoint.label == name]
        if not labelled:
            raise error("not-addressable", f"No Globus endpoint is labelled {name!r}.")
        return labelled[0]
    wanted = str(UUID(str(name)))
    same = [endpoint for endpoint in known if endpoint.id == wanted]
    if len({endpoint.root for endpoint in same}) > 1:
        labels = ", ".join(sorted(endpoint.label for endpoint in same))
        raise error("not-addressable", f"The endpoint {wanted} serves several repositories: name one of {labels}.")
    return same[0] if same else Endpoint(wanted)


def _is_uuid(value: object) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True
