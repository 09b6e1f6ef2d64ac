"""Collections with an HTTPS server: files take the road of all streaming protocols, and need no local endpoint."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tasks.clients import store
from tasks.clients.addresses import encode
from tasks.clients.globus.asking import answer_of
from tasks.clients.globus.endpoints import Endpoint, parse_address
from tasks.clients.globus.login import PROTOCOL, connect, service_account
from tasks.clients.globus.service import is_mapped
from tasks.clients.globus.setup import set_up
from tasks.clients.streaming import StreamingClient
from tasks.clients.verdicts import error
from tasks.clients.wire import Request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.clients.options import WireOptions
    from tasks.clients.seams import Pace

_HTTPS = "https://auth.globus.org/scopes/{0}/https"
_HTTPS_MAPPED = "https://auth.globus.org/scopes/{0}/https[*https://auth.globus.org/scopes/{0}/data_access]"


class GlobusHttpsClient(StreamingClient):
    """Files of a repository's collection, over its HTTPS server.

    A service account gets a token for the collection by itself. ONE's login cannot: its consent is for
    transfers alone, so without a service account only what anyone may read can be had.
    """

    def __init__(
        self,
        repository: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        options: WireOptions | None = None,
        pace: Pace | None = None,
    ) -> None:
        super().__init__(repository, params, options, pace)
        self._profile = (store.profile(PROTOCOL) or {}) if params is None else params
        self._app = service_account(self._profile)
        self._lock = threading.Lock()
        self._collections: dict[str, Mapping[str, Any]] = {}

    def to_address(self, data_path: str, dataset_id: str | None = None) -> str:
        """Return the same address as a managed transfer has; see :meth:`GlobusClient.to_address`."""
        return Endpoint.of_record(self.repository).address(data_path, dataset_id)

    def request(self, file_address: str) -> Request:
        """Return the file's URL on the collection's server, with a token where there is one.

        Raises:
            DownloadError: `not-addressable`, for a collection without an HTTPS server; the login's errors.
        """
        endpoint_id, path = parse_address(file_address)
        with self._lock:
            server = self._collection(endpoint_id).get("https_server")
            if not server:
                raise error("not-addressable", f"The collection {endpoint_id} has no HTTPS server.")
            token = self._authorization(endpoint_id)
        return Request(server.rstrip("/") + encode(path), (f"Authorization: {token}",) if token else ())

    @property
    def has_credentials(self) -> bool:
        """Whether requests carry a token."""
        return self._app is not None

    @staticmethod
    def setup(profile: str = "default", **fields: object) -> Mapping[str, Any]:
        """Write a profile, and log in at the terminal; see :func:`set_up`."""
        return set_up(profile, fields)

    def _collection(self, endpoint_id: str) -> Mapping[str, Any]:
        if endpoint_id not in self._collections:
            service = connect(self._profile, self.pace, attempts=self.wire.options.attempts)
            self._collections[endpoint_id] = service.endpoint(endpoint_id)
        return self._collections[endpoint_id]

    def _authorization(self, endpoint_id: str) -> str | None:
        """The header of a token for this collection; asked for once, and again when it has expired."""
        if self._app is None:
            return None
        scope = _HTTPS_MAPPED if is_mapped(self._collection(endpoint_id)) else _HTTPS
        self._app.add_scope_requirements({endpoint_id: scope.format(endpoint_id)})
        return answer_of(f"a token for collection {endpoint_id}", lambda: self._header(endpoint_id), self.pace)

    def _header(self, endpoint_id: str) -> str | None:
        assert self._app is not None  # noqa: S101  (asked for with a service account only; for the type checker)
        return self._app.get_authorizer(endpoint_id).get_authorization_header()
