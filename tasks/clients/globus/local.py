"""This machine's end of a Globus transfer: which endpoint, and which of its paths is which of ours."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import globus_sdk

from tasks.clients.globus.endpoints import endpoint_uuid, globus_path
from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class LocalEndpoint:
    """The endpoint that writes to this machine's disks.

    Attributes:
        id: Its UUID.
        local_path: A directory that it shows, as this machine calls it.
        shown_as: The same directory as the endpoint calls it.
    """

    id: str
    local_path: Path
    shown_as: str

    @classmethod
    def of_params(cls, params: Mapping[str, Any]) -> LocalEndpoint:
        """The endpoint of a profile, else the Globus Connect Personal of this computer.

        A collection of a server often shows a directory under another path than the machine does;
        `local_endpoint_path` says which.

        Raises:
            DownloadError: `not-configured`, where there is none.
        """
        endpoint_id = params.get("local_endpoint") or installed_endpoint()
        if not endpoint_id:
            detail = "No Globus endpoint is known for this machine: local_endpoint is missing in the profile."
            raise error("not-configured", detail)
        local_path = Path(params.get("local_path") or "/").expanduser()
        shown_as = params.get("local_endpoint_path") or globus_path(local_path)
        return cls(endpoint_uuid(endpoint_id, "The profile"), local_path, shown_as)

    def path_of(self, path: Path) -> str:
        """What the endpoint calls a path of this machine.

        Raises:
            DownloadError: `globus-destination`, for a path outside of what it shows.
        """
        try:
            below = path.relative_to(self.local_path)
        except ValueError:
            detail = f"{path} is not under {self.local_path}, which is what the endpoint {self.id} shows."
            raise error("globus-destination", detail) from None
        return f"{self.shown_as.rstrip('/')}/{below.as_posix()}"


def installed_endpoint() -> str | None:
    """UUID of the Globus Connect Personal of this user, on any platform; None where there is none."""
    try:
        return globus_sdk.LocalGlobusConnectPersonal().endpoint_id or None
    except (globus_sdk.GlobusSDKUsageError, OSError):  # a Windows service has no LOCALAPPDATA; or it is unreadable
        return None


def writable_paths() -> list[Path]:
    """Directories that Globus Connect Personal may write to, in its order; none where it does not say.

    Linux and macOS keep one `path,sharing,writable` line a directory; Windows keeps none.
    """
    file = Path("~/.globusonline/lta/config-paths").expanduser()
    if sys.platform == "win32" or not file.is_file():
        return []
    rows = csv.reader(file.read_text(encoding="utf-8").splitlines())
    paths = [Path(row[0]).expanduser() for row in rows if row and row[-1].strip() != "0"]
    return [path for path in paths if path.is_absolute()]
