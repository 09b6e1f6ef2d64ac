"""The control API from the other side: what a test or a demo says to a running emulator."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from deployments.sandbox.globus.store import Json

TRANSFER_SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"


class RemoteEmulator:
    """An emulator that somebody has started.

    Args:
        url: Where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False  # loopback needs no proxy

    @property
    def environment(self) -> dict[str, str]:
        """What points the SDK and the `globus` command here."""
        return {
            "GLOBUS_SDK_SERVICE_URL_TRANSFER": self.url,
            "GLOBUS_SDK_SERVICE_URL_AUTH": self.url,
            "NO_PROXY": "127.0.0.1",
        }

    def control(self, route: str, method: str = "POST", /, **fields: Any) -> Json:
        """Call the control API; `fields` are its JSON body."""
        reply = self._session.request(method, f"{self.url}/_emu/{route}", json=fields)
        reply.raise_for_status()
        document: Json = reply.json()
        return document

    def endpoint(self, endpoint_id: str, **fields: Any) -> str:
        """Add or change a collection; its id."""
        self.control("endpoint", id=endpoint_id, **fields)
        return endpoint_id

    def http_fault(self, match: str, kind: str = "status", **fields: Any) -> None:
        """Set what the next matching requests meet; see `faults.HttpFault`."""
        self.control("faults", layer="http", match=match, kind=kind, **fields)

    def path_fault(self, path: str, code: str, **fields: Any) -> None:
        """Set what the next matching paths meet; see `faults.PathFault`."""
        self.control("faults", layer="path", path=path, code=code, **fields)

    def clear_faults(self) -> None:
        """Behave again."""
        self.control("faults", "DELETE")

    def requests(self, match: str = "") -> list[Json]:
        """The requests so far whose method and path begin with `match`."""
        rows = self.control("log", "GET")["requests"]
        return [row for row in rows if row["request"].startswith(match)]

    def clear_log(self) -> None:
        """Forget the requests so far."""
        self.control("log", "DELETE")

    def freeze(self) -> None:
        """Stop the clock: from now on only :meth:`advance` moves time."""
        self.control("clock", freeze=True)

    def advance(self, seconds: float) -> None:
        """Let time pass, and the engine do what it brings."""
        self.control("clock", advance=seconds)

    def settle(self) -> None:
        """Return when the engine has nothing left to do now."""
        self.control("settle")

    def pace(self, **limits: Any) -> None:
        """Set `files`, `bytes_per_second` or `retry_seconds`."""
        self.control("pace", **limits)

    def tokens(self, **wishes: Any) -> None:
        """Set or spoil credentials; see `control.set_tokens`."""
        self.control("tokens", **wishes)

    def access_token(self, *, client: str = "sandbox", scope: str = TRANSFER_SCOPE) -> str:
        """Make an access token that is valid from now on."""
        token = f"Ag-{uuid.uuid4()}"
        self.tokens(access=[{"token": token, "client": client, "scope": scope}])
        return token
