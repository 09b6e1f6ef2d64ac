"""Access tokens, refresh tokens, codes and consents: what the token endpoint gives and the services check."""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from typing import TYPE_CHECKING

from deployments.sandbox.globus.errors import AuthError

if TYPE_CHECKING:
    from deployments.sandbox.globus.clock import Clock
    from deployments.sandbox.globus.store import Json, Store

TRANSFER = "transfer.api.globus.org"
#: One scope, with the dependencies that it may carry in brackets.
SCOPE = re.compile(r"[^\s\[\]]+(?:\[[^\]]*\])?")


def resource_server(scope: str) -> str:
    """Who a scope is for."""
    parts = re.split(r"[:/]", scope.partition("[")[0])
    if scope.startswith("urn:globus:auth:scope:"):
        return parts[4]
    return parts[5] if scope.startswith("https://") else "auth.globus.org"


class Tokens:
    """The state of the token endpoint, kept on disk.

    Attributes:
        lifetime: Seconds that an access token lives.
        refresh_reply: `omit` (no refresh token in the reply to a refresh), `same`, or `rotate` (a new one; the
            old one is dead).
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known = {kind: dict(store.load(kind)) for kind in ("client", "access", "refresh", "code", "consent")}
        self.lifetime = 172_800
        self.refresh_reply = "omit"

    def _keep(self, kind: str, key: str, record: Json) -> None:
        self._known[kind][key] = record
        self._store.put(kind, [(key, record)])
        self._store.commit()

    def add_client(self, client: str, secret: str) -> None:
        """Register a confidential client."""
        self._keep("client", client, {"secret": secret})

    def add_refresh(self, token: str, client: str, scope: str) -> None:
        """Register a refresh token, as a login long ago would have left it."""
        self._keep("refresh", token, {"client": client, "scope": scope, "active": True})

    def add_access(self, token: str, client: str, scope: str) -> None:
        """Register an access token, valid from now on."""
        record = {"client": client, "scope": scope, "expires": self._clock.now() + self.lifetime}
        self._keep("access", token, record)

    def add_code(self, client: str, asked: Json) -> str:
        """What a person gets to paste after having logged in: stands for what the login page was asked."""
        code = uuid.uuid4().hex
        self._keep("code", code, {"client": client, **asked})
        return code

    def expire_all(self) -> None:
        """End the life of all access tokens."""
        for token, record in [*self._known["access"].items()]:
            self._keep("access", token, {**record, "expires": 0.0})

    def revoke(self, token: str) -> None:
        """Forget a token, of whichever kind."""
        for kind, ended in (("access", {"expires": 0.0}), ("refresh", {"active": False})):
            if token in self._known[kind]:
                self._keep(kind, token, {**self._known[kind][token], **ended})

    def check(self, token: str) -> Json | None:
        """What a bearer token stands for, or None when it is unknown or expired."""
        record = self._known["access"].get(token)
        return record if record and record["expires"] > self._clock.now() else None

    def consented(self, client: str, scope: str) -> bool:
        """Whether the identity behind a client has ever consented to a dependent scope."""
        return f"{client} {scope}" in self._known["consent"]

    def authenticate(self, client: str, secret: str) -> None:
        """Check a confidential client's secret."""
        if self._known["client"].get(client) != {"secret": secret}:
            raise AuthError(401, "invalid_client")

    def grant(self, client: str, scope: str, *, refresh: bool) -> Json:
        """Issue tokens, one for each resource server of the scopes."""
        by_server: dict[str, list[str]] = {}
        for one in SCOPE.findall(scope):
            by_server.setdefault(resource_server(one), []).append(one)
            for dependency in SCOPE.findall(one.partition("[")[2].rstrip("]")):
                self._keep("consent", f"{client} {dependency.lstrip('*')}", {})
        replies = [self._issue(client, server, scopes, refresh=refresh) for server, scopes in by_server.items()]
        if not replies:
            raise AuthError(400, "invalid_scope")
        return {**replies[0], "other_tokens": replies[1:]}

    def _issue(self, client: str, server: str, scopes: list[str], *, refresh: bool) -> Json:
        scope = " ".join(one.partition("[")[0] for one in scopes)
        reply: Json = {
            "access_token": "Ag" + uuid.uuid4().hex,
            "scope": scope,
            "expires_in": self.lifetime,
            "token_type": "Bearer",
            "resource_server": server,
        }
        self.add_access(reply["access_token"], client, scope)
        if refresh:
            reply["refresh_token"] = "Rg" + uuid.uuid4().hex
            self.add_refresh(reply["refresh_token"], client, scope)
        return reply

    def refresh(self, token: str, client: str) -> Json:
        """Answer a refresh: a new access token, and perhaps a refresh token."""
        record = self._known["refresh"].get(token)
        if not record or not record["active"] or record["client"] != client:
            raise AuthError(400, "invalid_grant")
        reply = self.grant(client, record["scope"], refresh=self.refresh_reply == "rotate")
        if self.refresh_reply == "rotate":
            self.revoke(token)
        if self.refresh_reply == "same":
            reply["refresh_token"] = token
        return reply

    def exchange(self, code: str, client: str, verifier: str, redirect: str) -> Json:
        """Answer an authorisation code, once, to whoever knows the verifier of its challenge."""
        asked = self._known["code"].pop(code, {})
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        expected = {"client": client, "redirect_uri": redirect, "code_challenge": digest}
        if not asked or not expected.items() <= asked.items():
            raise AuthError(400, "invalid_grant")
        reply = self.grant(client, asked["scope"], refresh=asked.get("access_type") == "offline")
        return {**reply, "state": asked.get("state", "_default")}
