"""What the streaming clients share: an address becomes a request, and one road takes it from there."""

from __future__ import annotations

from abc import abstractmethod
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.clients.access import Access
from tasks.clients.base import Capabilities, DownloadClient
from tasks.clients.fetching import Fetch, Receipt
from tasks.clients.options import WireOptions
from tasks.clients.partials import Partials
from tasks.clients.proof import Expected
from tasks.clients.publish import publish
from tasks.clients.seams import Pace
from tasks.clients.tree import Tree
from tasks.clients.verdicts import DownloadError, http_status
from tasks.clients.wire import Wire, host_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from os import PathLike

    from tasks.clients.fetching import Exchange
    from tasks.clients.partial import Partial
    from tasks.clients.wire import Request

#: Answers that mean that no file can be had now.
FATAL = ("unauthorised", "server-error", "throttled")

#: How often a directory is made anew that others remove while this download begins.
_CLAIMS = 100


class StreamingClient(DownloadClient):
    """A client whose bytes pass through this process.

    Args:
        repository: What Alyx answers for the data repository.
        params: The protocol's profile of the params store, where it needs one.
        options: How patient the wire is.
        pace: Clock, dice and stop signal; shared by all clients of a run.
    """

    capabilities = Capabilities()

    def __init__(
        self,
        repository: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        options: WireOptions | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.repository = repository
        self.params = params
        self.pace = pace or Pace()
        self.wire = Wire(options or WireOptions(), self.pace)
        self._access = Access(lambda address: self.wire.status(self.request(address)))

    @abstractmethod
    def request(self, file_address: str) -> Request:
        """Turn an address into what to ask for; called again for each attempt.

        Raises:
            DownloadError: when there is no way to ask.
        """

    @property
    def has_credentials(self) -> bool:
        """Whether requests carry a login or a signature."""
        return False

    def without_credentials(self, failure: DownloadError, file_address: str) -> DownloadError:  # noqa: ARG002  (http's)
        """Say more of a refusal where nothing was shown that could have been refused."""
        return failure

    def renew(self) -> bool:
        """Look for newer credentials after a refusal; return whether there are any."""
        return False

    def knock(self, request: Request, fatal: Collection[str] = FATAL) -> str:
        """Ask a server for one byte, and return what it answers: any answer shows that it is there.

        Args:
            request: What to ask for; it need not exist.
            fatal: Rows of the table of verdicts that an answer must not amount to.

        Raises:
            DownloadError: there is no answer, or a fatal one.
        """
        status, body = self.wire.knock(request)
        where = host_of(request)
        if status >= HTTPStatus.BAD_REQUEST:
            refusal = http_status(status, where, body=body)
            if refusal.code in fatal:
                raise refusal
        return f"{where} answers HTTP {status}{', with a login' if self.has_credentials else ''}"

    def fetch(
        self, file_address: str, partial: Partial, *, receipt: Receipt | None = None, attempts: int | None = None
    ) -> Receipt:
        """Complete and prove a partial; the caller publishes it.

        Args:
            file_address: What `to_address` answered.
            partial: Claimed; its bytes are continued where that is safe.
            receipt: Counts on over several sources; a new one by default.
            attempts: Fewer attempts without progress than the options allow, when another source waits.

        Raises:
            DownloadError: the partial keeps what can be continued.
        """
        way = self.begin(file_address, partial, receipt or Receipt(), attempts)
        self.complete(way)
        return way.receipt

    def begin(self, file_address: str, partial: Partial, receipt: Receipt, attempts: int | None = None) -> Fetch:
        """Get ready to fetch a file; arguments as for :meth:`fetch`."""
        attempts = attempts or self.wire.options.attempts
        return Fetch(self.wire, file_address, partial, lambda: self.request(file_address), receipt, attempts)

    def complete(self, way: Fetch, first: Exchange | None = None) -> None:
        """Fetch until the partial is proven, beginning with what the first attempt brought; see :meth:`fetch`."""
        try:
            way.run(first)
        except DownloadError as failure:
            if failure.code not in ("unauthorised", "forbidden"):
                raise
            if not self.has_credentials:
                raise self.without_credentials(failure, way.address) from failure
            self._try_renewed(way, failure)
        self.granted(way.address)

    def granted(self, file_address: str) -> None:
        """Note that a file was had: the credentials are good."""
        self._access.granted(file_address)

    def _try_renewed(self, way: Fetch, failure: DownloadError) -> None:
        if self.renew():
            way.run()
        elif failure.code == "forbidden":
            raise self._access.judge(failure)
        else:
            raise failure

    def download_file(
        self, file_address: str, target: PathLike[str] | str, *, size: int | None = None, digest: str | None = None
    ) -> Path:
        """Fetch, prove and publish one file; see :meth:`DownloadClient.download_file`."""
        expected, place = Expected.of(size, digest), Path(target)
        tree = Tree.around(place.absolute())
        try:
            self._download(tree, file_address, place.absolute().relative_to(tree.root).as_posix(), expected)
        finally:
            tree.tidy()
        return place

    def _download(self, tree: Tree, file_address: str, relative: str, expected: Expected) -> None:
        partial = self._claim(tree, expected, file_address)
        try:
            self.fetch(file_address, partial)
            (result,) = publish(tree, [(partial, relative)])
        finally:
            partial.release()
        if isinstance(result, DownloadError):
            raise result

    def _claim(self, tree: Tree, expected: Expected, file_address: str) -> Partial:
        """Claim a partial, though another download into the same directory may end now and tidy up."""
        for _ in range(_CLAIMS):
            try:
                return self._claim_once(tree, expected, file_address)
            except DownloadError as failure:
                if not isinstance(failure.__cause__, FileNotFoundError):
                    raise
        return self._claim_once(tree, expected, file_address)

    def _claim_once(self, tree: Tree, expected: Expected, file_address: str) -> Partial:
        tree.prepare()
        return Partials(tree.partials, tree.disk, self.pace).claim(expected, file_address)
