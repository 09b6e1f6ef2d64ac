"""Globus: a service moves the bytes between two endpoints; what arrives is proven and published like all else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.clients import store
from tasks.clients.base import Capabilities, DownloadClient
from tasks.clients.globus.batches import Destination, Item
from tasks.clients.globus.endpoints import Endpoint, parse_address
from tasks.clients.globus.folders import Listed, below
from tasks.clients.globus.journal import Journal
from tasks.clients.globus.leftovers import is_proven
from tasks.clients.globus.local import LocalEndpoint
from tasks.clients.globus.login import PROTOCOL, connect
from tasks.clients.globus.options import GlobusOptions
from tasks.clients.globus.receiving import published, staging, tidy
from tasks.clients.globus.setup import log_out, set_up
from tasks.clients.globus.transfer import Transfers
from tasks.clients.options import WireOptions
from tasks.clients.partials import Partials
from tasks.clients.paths import safe_path
from tasks.clients.proof import Expected
from tasks.clients.seams import Pace
from tasks.clients.tree import Tree
from tasks.clients.verdicts import DownloadError, error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike

    from tasks.clients.globus.outcomes import Result
    from tasks.clients.globus.transfer import Deliver, Progress, There


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
        destination = Destination(LocalEndpoint.of_params(self.params), staging(tree))
        journal = Journal(destination.staging)
        try:
            service = connect(self.params, self.pace, attempts=self._attempts)
            transfers = Transfers(service, journal, self._options, self.pace)
            transfers.move(items, destination, deliver, progress, there)
        finally:
            journal.close()

    def download_file(
        self, file_address: str, target: PathLike[str] | str, *, size: int | None = None, digest: str | None = None
    ) -> Path:
        """Fetch, prove and publish one file; see :meth:`DownloadClient.download_file`.

        A task for one file takes Globus some seconds: use :meth:`move` for many. A file that is there and proves is
        not moved again.
        """
        expected = Expected.of(size, digest)
        place = Path(target).absolute()
        tree = Tree.around(place)
        tree.prepare()
        item = Item(place.relative_to(tree.root).as_posix(), file_address, expected.size, expected.digest)
        try:
            self._download(tree, item, expected)
        finally:
            tidy(tree)
        return place

    def _download(self, tree: Tree, item: Item, expected: Expected) -> None:
        results: list[Result] = []
        self.move([item], tree, results.extend, there=lambda _: is_proven(item, tree.root / item.key, self.pace))
        if results[0].there:
            return
        partials = Partials(tree.partials, tree.disk, self.pace)
        published(tree, partials, results[0], expected)

    def list_folder(self, folder_address: str) -> list[Listed]:
        """Return what :meth:`download_folder` would fetch; nothing is moved or written.

        Raises:
            DownloadError: the folder is not there or may not be seen, or Globus cannot be asked.
        """
        service = connect(self.params, self.pace, attempts=self._attempts)
        service.endpoint(parse_address(folder_address)[0])
        return list(below(service, folder_address))

    def download_folder(self, folder_address: str, target: Path) -> dict[str, Path | DownloadError]:
        """Fetch all files below a folder, whether Alyx knows them or not; sizes are all that is compared.

        Files of datasets are better fetched by a selection: then their digests count, and a second run fetches nothing.

        Args:
            folder_address: `globus://<endpoint>/<path of a folder>`.
            target: The folder on this machine, which is made.

        Returns:
            By path below the folder, where it is now, or why it is not.

        Raises:
            DownloadError: as :meth:`list_folder` and :meth:`move`; what has come is published.
        """
        listed = self.list_folder(folder_address)
        tree = Tree(target.absolute())
        tree.prepare()
        fates: dict[str, Path | DownloadError] = {}
        partials = Partials(tree.partials, tree.disk, self.pace)

        def deliver(results: list[Result]) -> None:
            for result in results:
                fates[result.item.key] = _outcome(published, tree, partials, result, Expected(result.item.size))

        fates |= {file.path: _outcome(_place, tree, file.path) for file in listed}
        safe = [file for file in listed if not isinstance(fates[file.path], DownloadError)]
        try:
            self.move((Item(file.path, file.address, file.size) for file in safe), tree, deliver)
        finally:
            tidy(tree)
        return fates

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


def _place(tree: Tree, path: str) -> Path:
    return tree.root / safe_path(path)


def _outcome(work: Callable[..., Path], *arguments: object) -> Path | DownloadError:
    try:
        return work(*arguments)
    except DownloadError as failure:
        return failure
