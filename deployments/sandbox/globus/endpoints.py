"""Collections: a directory of this machine each, and the document that describes it."""

from __future__ import annotations

import posixpath
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.sandbox.globus.errors import TransferError

if TYPE_CHECKING:
    from deployments.sandbox.globus.store import Json, Store

DATA_ACCESS = "https://auth.globus.org/scopes/{}/data_access"
HTTPS = "https://auth.globus.org/scopes/{}/https"


class PathError(Exception):
    """A path that the collection does not let anyone reach."""


@dataclass
class Endpoint:
    """One collection.

    Attributes:
        root: Directory that the collection shows as `/`.
        paths: Where access is allowed below `/`, as Globus Connect Personal's config-paths; empty is everywhere.
        home: What `/~/` means.
        connected: Whether it can be reached; only personal ones tell in their document.
        https: Whether it has an HTTPS server; `anonymous` lets anyone read there.
        data_access: Whether its owner asks for the data_access consent.
    """

    id: str
    root: str
    display_name: str = "sandbox"
    entity_type: str = "GCSv5_guest_collection"
    paths: list[str] = field(default_factory=list)
    home: str = "/"
    connected: bool = True
    paused: bool = False
    https: bool = False
    anonymous: bool = False
    data_access: bool = False
    high_assurance: bool = False
    disable_verify: bool = False
    subscription_id: str | None = None

    @property
    def personal(self) -> bool:
        """Whether it is a Globus Connect Personal endpoint."""
        return self.entity_type.startswith("GCP")

    @property
    def consent(self) -> str | None:
        """The scope that must be consented to before data can move, if any."""
        return DATA_ACCESS.format(self.id) if self.data_access and not self.high_assurance else None

    def absolute(self, path: str) -> str:
        """The path as the collection sees it: from `/`, with `~` resolved."""
        if path in ("~", "/~") or path.startswith(("~/", "/~/")):
            path = posixpath.join(self.home, path.partition("~")[2].lstrip("/"))
        return "/" + posixpath.normpath(posixpath.join(self.home, path)).lstrip("/")

    def locate(self, path: str) -> Path:
        """Where a path lies on this machine.

        Raises:
            PathError: it lies outside of what the collection shows.
        """
        absolute = self.absolute(path)
        inside = any(absolute == top or absolute.startswith(top.rstrip("/") + "/") for top in self.paths)
        if ".." in path.split("/") or (self.paths and not inside):
            raise PathError(path)
        return Path(self.root + absolute)

    def document(self, base_url: str) -> Json:
        """The endpoint document."""
        return {
            **FIXED,
            "id": self.id,
            "display_name": self.display_name,
            "canonical_name": f"sandbox#{self.id}",
            "entity_type": self.entity_type,
            "is_globus_connect": self.personal,
            "gcp_connected": self.connected if self.personal else None,
            "gcp_paused": self.paused if self.personal else None,
            "disable_verify": self.disable_verify,
            "high_assurance": self.high_assurance,
            "subscription_id": self.subscription_id,
            "https_server": f"{base_url}/https/{self.id}" if self.https else None,
            "default_directory": self.home if self.home != "/" else None,
        }


#: What every collection of the sandbox has in common.
FIXED: Json = {
    "DATA_TYPE": "endpoint",
    "organization": "Sandbox",
    "username": "u_sandbox",
    "owner_id": "5a4d0000-0000-4000-8000-000000000001",
    "owner_string": "sandbox@globusid.org",
    "description": "A directory of this machine.",
    "public": False,
    "french_english_bilingual": False,
    "globus_connect_setup_key": None,
    "s3_url": None,
    "s3_owner_activated": False,
    "host_endpoint_id": None,
    "host_path": None,
    "disable_anonymous_writes": False,
    "force_verify": False,
    "force_encryption": False,
    "mfa_required": False,
    "myproxy_server": None,
    "myproxy_dn": None,
    "non_functional": False,
    "non_functional_endpoint_display_name": None,
    "non_functional_endpoint_id": None,
    "oauth_server": None,
    "activated": False,
    "expires_in": 0,
    "expire_time": "2000-01-02 03:45:06+00:00",
    "shareable": True,
    "acl_available": False,
    "acl_editable": False,
    "in_use": False,
    "tlsftp_server": None,
    "gcs_manager_url": None,
    "DATA": [
        {
            "DATA_TYPE": "server",
            "hostname": "127.0.0.1",
            "uri": "gsiftp://127.0.0.1:2811",
            "port": 2811,
            "scheme": "gsiftp",
            "id": 1,
            "subject": "/O=Grid/OU=Sandbox/CN=host/127.0.0.1",
        }
    ],
}


class Endpoints:
    """The collections by id, kept on disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_id = {key: Endpoint(**record) for key, record in store.load("endpoint")}

    def set(self, changes: Json) -> Endpoint:
        """Add a collection, or change some of its fields."""
        known = self._by_id.get(changes["id"])
        endpoint = Endpoint(**{**(asdict(known) if known else {}), **changes})
        self._by_id[endpoint.id] = endpoint
        self._store.put("endpoint", [(endpoint.id, asdict(endpoint))])
        self._store.commit()
        return endpoint

    def get(self, endpoint_id: str) -> Endpoint:
        """The collection of this id, or the 404 of the service."""
        try:
            return self._by_id[endpoint_id]
        except KeyError:
            raise TransferError(404, "EndpointNotFound", f"No such endpoint '{endpoint_id}'") from None
