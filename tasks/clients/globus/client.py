"""Globus: a service moves the bytes between two endpoints; what arrives is proven and published like all else."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from tasks.clients import store
from tasks.clients.base import Capabilities, DownloadClient
from tasks.clients.globus.batches import Destination, Item
from tasks.clients.globus.endpoints import Endpoint
from tasks.clients.globus.journal import SqliteJournal
from tasks.clients.globus.local import LocalEndpoint
from tasks.clients.globus.login import PROTOCOL, connect
from tasks.clients.globus.options import GlobusOptions
from tasks.clients.globus.setup import log_out, set_up
from tasks.clients.globus.transfer import Transfers
from tasks.clients.partials import Partials
from tasks.clients.proof import Expected
from tasks.clients.publish import Published, publish
from tasks.clients.seams import Pace
from tasks.clients.tree import OURS, Tree
from tasks.clients.verdicts import error
from tasks.clients.wire import WireOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tasks.clients.globus.outcomes import Result
    from tasks.clients.globus.transfer import Deliver, Progress
    from tasks.clients.partials import Partial


_STAGING = "globus"
_JOURNAL = "globus.sqlite"
#: What a personal endpoint's document says where nothing can be had from it.
_TROUBLE = (("gcp_connected", False, "globus-offline"), ("gcp_paused", True, "globus-gc-paused"))


class GlobusClient(DownloadClient):
    """Files of a repository's Globus endpoint.

    Args:
        repository: What Alyx answers for the data repository.
        params: The profile; by default what the params store holds as `globus.default`. `client_id` and
            `client_secret` make a service account.
        options: How often the service is asked, where it is in trouble.
        pace: Clock, dice and stop signal.
        transfer_options: Sizes and patience of managed transfers.
    """

    capabilities = Capabilities(streams=False, managed=True, needs_params=True)

    def __init__(
        self,
        repository: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        options: WireOptions | None = None,
        pace: Pace | None = None,
        transfer_options: GlobusOptions | None = None,
    ) -> None:
        self.repository = repository
        self.pace = pace or Pace()
        self._params = params
        self._attempts = (options or WireOptions()).attempts
        self._options = transfer_options or GlobusOptions()

    @property
    def params(self) -> Mapping[str, Any]:
        """The profile; read when it is needed, since an address needs none."""
        if self._params is None:
            self._params = store.profile(PROTOCOL) or {}
        return self._params

    def to_address(self, data_path: str, dataset_id: str | None = None) -> str:
        """Return `globus://<endpoint>/<path>` of a registered path, the path percent-encoded.

        Raises:
            DownloadError: `bad-path`, or `not-addressable` for a repository without an endpoint.
        """
        return Endpoint.of_record(self.repository).address(data_path, dataset_id)

    def reach(self) -> str:
        """Ask Globus for the endpoint's document; see :meth:`DownloadClient.reach`."""
        here, there = LocalEndpoint.of_params(self.params), Endpoint.of_record(self.repository)
        document = connect(self.params, self.pace, attempts=1).endpoint(there.id)
        name = document.get("display_name") or there.id
        for field, wrong, code in _TROUBLE:
            if document.get(field) is wrong:
                raise error(code, f"{name}.")
        return f"Globus knows {name}; files are received at {here.id}"

    def move(self, items: Iterable[Item], tree: Tree, deliver: Deliver, progress: Progress | None = None) -> None:
        """Receive many files, of this repository or of others, beside a tree; see :meth:`Transfers.move`.

        Args:
            items: What to move; any address of Globus.
            tree: Where they will be published. They are received under what is ours in it.
            deliver: Called with results as they come; :func:`adopt` makes a partial of a staged file.
            progress: Called with bytes and files so far.

        Raises:
            DownloadError: `stopped`; `not-configured`, without a local endpoint or a login.
        """
        destination = Destination(LocalEndpoint.of_params(self.params), tree.root / OURS / _STAGING)
        journal = SqliteJournal(tree.root / OURS / _JOURNAL)
        try:
            service = connect(self.params, self.pace, attempts=self._attempts)
            Transfers(service, journal, self._options, self.pace).move(items, destination, deliver, progress)
        finally:
            journal.close()

    def download_file(
        self, file_address: str, target: Path, *, size: int | None = None, digest: str | None = None
    ) -> Path:
        """Fetch, prove and publish one file; see :meth:`DownloadClient.download_file`.

        A task for one file takes Globus some seconds: use :meth:`move` for many.
        """
        expected = Expected.of(size, digest)
        target = target.absolute()
        tree = Tree.around(target)
        lone = not (tree.root / OURS).exists()
        tree.prepare()
        relative = target.relative_to(tree.root).as_posix()
        results: list[Result] = []
        self.move([Item(relative, file_address, expected.size, expected.digest)], tree, results.extend)
        partials = Partials(tree.partials, tree.disk, self.pace)
        (published,) = publish(tree, [(adopt(result, partials, expected), relative) for result in results])
        if not isinstance(published, Published):
            raise published
        if lone:
            _tidy(tree)
        return target

    @classmethod
    def is_configured(cls) -> bool:
        """Whether there is a profile, or a service account in the environment."""
        return bool(store.profile(PROTOCOL) or os.environ.get("GLOBUS_CLIENT_ID"))

    @staticmethod
    def setup(profile: str = "default", **fields: object) -> Mapping[str, Any]:
        """Write a profile, and log in at the terminal; see :func:`set_up`."""
        return set_up(profile, fields)

    @staticmethod
    def logout(profile: str = "default") -> None:
        """Revoke a profile's tokens and forget them; see :func:`log_out`."""
        log_out(profile)


def adopt(result: Result, partials: Partials, expected: Expected) -> Partial:
    """Make a claimed partial of a staged file, to be published like all others.

    Raises:
        DownloadError: why the file was not moved; or the file system's.
    """
    if result.failure or result.staged is None:
        raise result.failure or AssertionError
    return partials.adopt(result.staged, expected, result.item.address)


def _tidy(tree: Tree) -> None:
    """Remove what a single download has made for itself; the journal of a mirrored tree stays."""
    (tree.root / OURS / _JOURNAL).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (tree.root / OURS / _STAGING).rmdir()
    tree.tidy()
