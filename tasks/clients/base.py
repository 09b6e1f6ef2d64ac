"""The contract of a client: one protocol, one repository, addresses in and proven files out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from pathlib import Path

#: ONE's default order of protocols (one.remote.base), its spelling included.
PROC_PRECEDENCE = ("aws", "http", "globus", "kachary")
#: ONE's protocols as Alyx's JSON names them (one.remote.base).
ALYX_JSON = {"access_protocol": {("aws", "http", "kachary", "globus")}}


class RestClient(Protocol):
    """What a client needs of Alyx: ONE's AlyxClient has it, and so has ours."""

    def rest(self, url: str, action: str, *args: Any, **kwargs: Any) -> Any:
        """Call `action` ("read", "list", ...) of a REST endpoint."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a protocol can do; the engine asks these fields, never a client's name.

    Attributes:
        streams: The bytes pass through this process, over `wire`.
        managed: A service moves the bytes, many files a job.
        by_digest: An address follows from the digest alone, without a path.
        needs_params: Nothing works without a profile in the params store.
    """

    streams: bool = True
    managed: bool = False
    by_digest: bool = False
    needs_params: bool = False


class DownloadClient(ABC):
    """One protocol's way to one repository's files: the four methods that ONE's class of this name has."""

    capabilities: Capabilities

    @abstractmethod
    def to_address(self, data_path: str, dataset_id: str | None = None) -> str:
        """Return the address of a registered path, percent-encoded once.

        Args:
            data_path: A file record's `relative_path`, raw.
            dataset_id: The dataset's UUID; put into the file's name where this repository's names carry it.

        Raises:
            DownloadError: `bad-path` or `not-addressable`.
        """

    def address_of(
        self,
        path: str,
        dataset_id: str | None = None,
        *,
        digest: str = "",  # noqa: ARG002  (kachery looks at it)
        json: Mapping[str, Any] | None = None,  # noqa: ARG002  (and at it)
    ) -> str:
        """Return the address of a dataset by all that Alyx says of it; most protocols look at its path only.

        Args:
            path: As for :meth:`to_address`.
            dataset_id: As for :meth:`to_address`.
            digest: As registered, "" for none.
            json: The file record's own field.

        Raises:
            DownloadError: as :meth:`to_address`; `digest-mismatch` where the record names other bytes than Alyx.
        """
        return self.to_address(path, dataset_id)

    @abstractmethod
    def download_file(
        self, file_address: str, target: PathLike[str] | str, *, size: int | None = None, digest: str | None = None
    ) -> Path:
        """Fetch, prove and publish one file.

        Args:
            file_address: What :meth:`to_address` answered.
            target: Final path; its parents are made. A good file that stands there stays until the new one is proven.
            size: Bytes as registered.
            digest: md5 (32 hex characters) or sha1 (40) as registered; dashes are ignored.

        Returns:
            The path of `target`, which now holds exactly the registered bytes.

        Raises:
            DownloadError: with verdict, reason and next step. Then `target` is what it was before, and
                the bytes received lie in a partial that the next call resumes.
        """

    def reach(self) -> str:
        """Ask the repository's server for one small answer, and return what it says, for a human.

        Raises:
            DownloadError: the server does not answer, fails, or refuses the credentials.
        """
        return "not tried: this protocol has no small question"

    @classmethod
    def is_configured(cls) -> bool:
        """Whether this machine has what the protocol needs; where it has not, its sources are left out."""
        return True

    @staticmethod
    @abstractmethod
    def setup(profile: str = "default", **fields: object) -> Mapping[str, Any]:
        """Write a profile into ONE's params store; asks for missing fields only at a terminal."""

    @staticmethod
    def repo_from_alyx(name: str, alyx: RestClient) -> Any:
        """Return what Alyx answers for a data repository; `alyx` is ours or ONE's own client."""
        return alyx.rest("data-repository", "read", id=name)
