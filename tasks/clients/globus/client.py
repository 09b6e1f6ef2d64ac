"""Globus: a service moves the bytes between two endpoints; what arrives is proven and published like all else."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from tasks.clients import store
from tasks.clients.base import Capabilities, DownloadClient
from tasks.clients.globus.batches import Destination, Item
from tasks.clients.globus.endpoints import Endpoint
from tasks.clients.globus.journal import Journal
from tasks.clients.globus.leftovers import is_proven
from tasks.clients.globus.local import LocalEndpoint
from tasks.clients.globus.login import PROTOCOL, connect
from tasks.clients.globus.options import GlobusOptions
from tasks.clients.globus.setup import log_out, set_up
from tasks.clients.globus.transfer import Transfers
from tasks.clients.options import WireOptions
from tasks.clients.partials import Partials
from tasks.clients.proof import Expected
from tasks.clients.publish import publish
from tasks.clients.seams import Pace
from tasks.clients.tree import OURS, Tree
from tasks.clients.verdicts import DownloadError, error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tasks.clients.globus.outcomes import Result
    from tasks.clients.globus.transfer import Deliver, Progress, There
    from tasks.clients.partial import Partial


_STAGING = "globus"
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

    def move(
        self,
        items: Iterable[Item],
        tree: Tree,
        deliver: Deliver,
        progress: Progress | None = None,
        there: There | None = None,
    ) -> None:
        """Receive many files, of this repository or of others, beside a tree; see :meth:`Transfers.move`.

        Args:
            items: What to move; any address of Globus.
            tree: Where they will be published. They are received under what is ours in it.
            deliver: Called with results as they come; :func:`adopt` makes a partial of a staged file.
            progress: Called with bytes and files so far.
            there: Whether a file has its final name, from another run on this tree; asked before it is moved.

        Raises:
            DownloadError: `stopped`; `not-configured`, without a local endpoint or a login.
        """
        destination = Destination(LocalEndpoint.of_params(self.params), _staging(tree))
        journal = Journal(destination.staging)
        try:
            service = connect(self.params, self.pace, attempts=self._attempts)
            transfers = Transfers(service, journal, self._options, self.pace)
            transfers.move(items, destination, deliver, progress, there)
        finally:
            journal.close()

    def download_file(
        self, file_address: str, target: Path, *, size: int | None = None, digest: str | None = None
    ) -> Path:
        """Fetch, prove and publish one file; see :meth:`DownloadClient.download_file`.

        A task for one file takes Globus some seconds: use :meth:`move` for many. A file that is there and proves is
        not moved again.
        """
        expected = Expected.of(size, digest)
        target = target.absolute()
        tree = Tree.around(target)
        tree.prepare()
        item = Item(target.relative_to(tree.root).as_posix(), file_address, expected.size, expected.digest)
        try:
            self._download(tree, item, expected)
        finally:
            _tidy(tree)
        return target

    def _download(self, tree: Tree, item: Item, expected: Expected) -> None:
        results: list[Result] = []
        self.move([item], tree, results.extend, there=lambda _: is_proven(item, tree.root / item.key, self.pace))
        if results[0].there:
            return
        partials = Partials(tree.partials, tree.disk, self.pace)
        (published,) = publish(tree, [(adopt(results[0], partials, expected, item.key), item.key)])
        if isinstance(published, DownloadError):
            raise published

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


def adopt(result: Result, partials: Partials, expected: Expected, name: str) -> Partial:
    """Make a proven partial of a staged file, to be published like all others; bytes that are wrong are gone then.

    Raises:
        DownloadError: why the file was not moved, what is wrong with its bytes, or the file system's.
    """
    if result.failure or result.staged is None:
        raise result.failure or AssertionError
    partial = partials.adopt(result.staged, expected, result.item.address)
    try:
        partial.prove(name)
    except DownloadError:
        partial.discard()
        raise
    return partial


def prune(tree: Tree, retention_seconds: float, pace: Pace) -> None:
    """Remove what Globus brought for runs that died, when nobody went on with it for so long."""
    Journal(_staging(tree)).prune(lambda found: pace.now() - found.st_mtime > retention_seconds)


def _staging(tree: Tree) -> Path:
    return tree.root / OURS / _STAGING


def _tidy(tree: Tree) -> None:
    """Remove what a single download has made for itself, where it is empty."""
    with contextlib.suppress(OSError):
        _staging(tree).rmdir()
    tree.tidy()
