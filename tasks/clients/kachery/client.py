"""The client: an address holds the SHA-1 of the bytes; a gateway knows a URL.

The URL is good for about an hour; the bytes take the same road as those of every other protocol, and are proven by
the hash that is their address, which kachery's own clients never look at.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from tasks.clients import profiles
from tasks.clients.base import Capabilities
from tasks.clients.fetching import Receipt
from tasks.clients.kachery.address import KacheryAddress, is_uri, uri_in, zone_in
from tasks.clients.kachery.cache import KacheryCache
from tasks.clients.kachery.gateway import Gateway, Gateways, NewGateway, OldGateway
from tasks.clients.kachery.settings import FIELDS, PROTOCOL, PUBLIC_GATEWAY, KacherySettings, is_configured
from tasks.clients.streaming import StreamingClient
from tasks.clients.verdicts import DownloadError, error, os_error
from tasks.clients.wire import Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from tasks.clients.options import WireOptions
    from tasks.clients.partial import Partial
    from tasks.clients.seams import Pace


class KacheryClient(StreamingClient):
    """Files of kachery's zones; the repository's `json` may name the zone."""

    capabilities = Capabilities(by_digest=True)

    def __init__(
        self,
        repository: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        options: WireOptions | None = None,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(repository, params, options, pace)
        self._settings = KacherySettings.gather(params)
        self._gateways = Gateways(_gateways(self._settings), self.wire)
        self._cache = KacheryCache(self._settings.places, self.pace)

    def to_address(self, data_path: str, dataset_id: str | None = None) -> str:  # noqa: ARG002  (the contract's)
        """Return `kachery:<zone>:sha1:<hash>[:label]`.

        Args:
            data_path: A URI of kachery, or `<digest>[/<name>]`; kachery knows no paths.
            dataset_id: Not looked at.

        Raises:
            DownloadError: `not-addressable` for an md5 and whatever else is no SHA-1; `not-configured` for a bare
                digest where neither this machine nor the repository says that kachery is to be asked.
        """
        return str(self._address(data_path, self.repository.get("json")))

    def reach(self) -> str:
        """Ask each gateway for an answer; see :meth:`DownloadClient.reach`."""
        return "; ".join(self.knock(Request(gateway.url)) for gateway in _gateways(self._settings))

    def address_of(
        self,
        path: str,
        dataset_id: str | None = None,  # noqa: ARG002  (the contract's)
        *,
        digest: str = "",
        json: Mapping[str, Any] | None = None,
    ) -> str:
        """Return the address of a dataset: the one that its file record's `json` names, else by its digest.

        The zone is the one that the address itself names, the file record, the repository, or the settings. See
        :meth:`DownloadClient.address_of`.
        """
        name = PurePosixPath(path).name
        nearest = json if zone_in(json) else self.repository.get("json")
        address = self._address(uri_in(json) or f"{digest}/{name}", nearest)
        _refuse_other_bytes(address, digest.replace("-", "").lower())
        return str(address)

    def request(self, file_address: str) -> Request:
        """Return the URL that a gateway signs for the file, asked for anew each time."""
        return Request(self._gateways.find(KacheryAddress.parse(file_address)), temporary=True)

    def fetch(
        self, file_address: str, partial: Partial, *, receipt: Receipt | None = None, attempts: int | None = None
    ) -> Receipt:
        """Complete and prove a partial, from the official clients' files on this machine where they are right.

        Where Alyx has no digest, the SHA-1 that is the address proves the file. See :meth:`StreamingClient.fetch`.
        """
        address = KacheryAddress.parse(file_address)
        _refuse_other_bytes(address, partial.expected.digest)
        partial.expect(address.sha1, self.pace.check)
        receipt = receipt or Receipt()
        if self._fetch_here(address, partial):
            return receipt
        super().fetch(file_address, partial, receipt=receipt, attempts=attempts)
        if self._settings.fill_cache:
            self._cache.add(address.sha1, partial.path)
        return receipt

    @classmethod
    def is_configured(cls) -> bool:
        """Whether kachery was set up here; without that no digest is shown to a gateway."""
        return is_configured()

    @staticmethod
    def setup(profile: str = "default", **fields: object) -> Mapping[str, Any]:
        """Write kachery's settings into the params store, under ONE's spelling, `kachary.<profile>`."""
        return profiles.setup(PROTOCOL, profile, FIELDS, fields)

    def _address(self, text: str, json: Mapping[str, Any] | None) -> KacheryAddress:
        zone = zone_in(json)
        if is_uri(text):
            return KacheryAddress.parse(text).in_zone(zone or self._settings.zone)
        address = KacheryAddress.of_digest(text)
        if not zone and not self._settings.configured:
            raise error("not-configured", "kachery is asked for a bare digest only where it was set up.")
        return address.in_zone(zone or self._settings.zone)

    def _fetch_here(self, address: KacheryAddress, partial: Partial) -> bool:
        """Take the file from this machine; return whether it was there, and proved to be what Alyx registers."""
        file = self._cache.open(address.sha1)
        if file is None:
            return False
        with file:
            return self._copied(file, partial, address.label)

    def _copied(self, file: BinaryIO, partial: Partial, name: str) -> bool:
        partial.rewind()
        try:
            for block in self._cache.blocks(file):
                partial.write(block)
        except OSError as failure:
            raise os_error(failure, partial.path) from failure
        try:
            partial.prove(name)
        except DownloadError:
            partial.rewind()
            return False
        return True


def _gateways(settings: KacherySettings) -> list[Gateway]:
    gateways: list[Gateway] = []
    if settings.base_url or not settings.gateway_url:
        gateways.append(NewGateway(str(settings.base_url or PUBLIC_GATEWAY), settings.api_key))
    if settings.gateway_url:
        gateways.append(OldGateway(str(settings.gateway_url), settings.client_key))
    return gateways


def _refuse_other_bytes(address: KacheryAddress, digest: str) -> None:
    """An address that is another SHA-1 than the one that Alyx registers names other bytes: nothing is fetched."""
    if len(digest) == len(address.sha1) and digest != address.sha1:
        raise error("digest-mismatch", f"{address} is the address of other bytes than sha1 {digest}.")
