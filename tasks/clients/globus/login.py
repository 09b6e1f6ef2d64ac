"""Logging in to Globus: with the login that ONE keeps in its params store, or as a service account.

A valid token costs no request. One that is not is refreshed once, however many threads and processes need it:
whoever holds the store's lock reads it again first, and finds what another has refreshed meanwhile.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import globus_sdk
from globus_sdk.authorizers import GlobusAuthorizer

from tasks.clients import store
from tasks.clients.globus.asking import no_retries, transport
from tasks.clients.globus.service import GlobusService
from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.clients.seams import Pace

Json = dict[str, Any]

PROTOCOL = "globus"
TRANSFER = "transfer.api.globus.org"
#: A token that lives no longer than this is not used: the request may take its time.
_MARGIN_SECONDS = 60.0


def connect(params: Mapping[str, Any], pace: Pace, *, attempts: int = 5) -> GlobusService:
    """Globus Transfer, as a service account where one is configured, else as the person that ONE knows.

    Nothing is asked for until the first call.

    Args:
        params: Fields of the profile. `client_id` and `client_secret` make a service account, and so do
            GLOBUS_CLIENT_ID and GLOBUS_CLIENT_SECRET in the environment; `profile` names the stored profile.
        pace: Clock, dice and stop signal.
        attempts: How often a call is made, where the service is in trouble.

    Raises:
        DownloadError: `not-configured`, for half a service account.
    """
    app = service_account(params)
    if app:
        client = globus_sdk.TransferClient(app=app, transport=transport(), retry_config=no_retries())
        return GlobusService(client, pace, attempts=attempts, consent=partial(_consent, client, app))
    login = StoredLogin(str(params.get("profile") or "default"), pace)
    client = globus_sdk.TransferClient(authorizer=login, transport=transport(), retry_config=no_retries())
    return GlobusService(client, pace, attempts=attempts)


def service_account(params: Mapping[str, Any]) -> globus_sdk.ClientApp | None:
    """The service account of a profile or of the environment; its tokens stay in memory.

    Raises:
        DownloadError: `not-configured`, for half of one.
    """
    client_id, secret = params.get("client_id"), params.get("client_secret")
    if not secret:
        client_id, secret = os.environ.get("GLOBUS_CLIENT_ID"), os.environ.get("GLOBUS_CLIENT_SECRET")
    if not secret:
        return None
    if not client_id:
        raise error("not-configured", "There is a secret of a Globus service account, but no GLOBUS_CLIENT_ID.")
    plain = secret.get_secret_value() if hasattr(secret, "get_secret_value") else secret
    auth = globus_sdk.ConfidentialAppAuthClient(client_id, plain, transport=transport(), retry_config=no_retries())
    config = globus_sdk.GlobusAppConfig(token_storage="memory")  # noqa: S106  (where tokens go, not a secret)
    return globus_sdk.ClientApp("prefect-alyx", login_client=auth, config=config)


def _consent(client: globus_sdk.TransferClient, app: globus_sdk.ClientApp, collection: str) -> None:
    """Let a service account consent to moving a collection's data: by asking for a token with that scope."""
    client.add_app_data_access_scope(collection)
    app.login(force=True)  # the token that is there looks good enough to the SDK, and does not carry the consent


def native_client(fields: Mapping[str, Any], profile: str) -> globus_sdk.NativeAppAuthClient:
    """The application that a person logs in to, as ONE's profile names it.

    Raises:
        DownloadError: `not-configured`.
    """
    client_id = fields.get("GLOBUS_CLIENT_ID")
    if not client_id:
        raise error("not-configured", f"The profile {PROTOCOL}.{profile} has no GLOBUS_CLIENT_ID.")
    return globus_sdk.NativeAppAuthClient(client_id, transport=transport(), retry_config=no_retries())


def token_fields(response: globus_sdk.OAuthTokenResponse, profile: str) -> Json:
    """What of a token reply goes into the store: a reply without a refresh token leaves the one that is there.

    Raises:
        DownloadError: `globus-login`, for a reply without a token of Globus Transfer.
    """
    token = response.by_resource_server.get(TRANSFER)
    if not token:
        raise error("globus-login", f"The login of {PROTOCOL}.{profile} is not one for Globus Transfer.")
    names = ("access_token", "expires_at_seconds", "refresh_token")
    return {name: token[name] for name in names if token.get(name)}


class StoredLogin(GlobusAuthorizer):
    """The login of a profile, as the SDK asks for it; shared by threads.

    The SDK's own `RefreshTokenAuthorizer` refreshes once a thread, and loses its refresh token to a reply that
    holds none; ONE then writes that null into the store.
    """

    def __init__(self, profile: str, pace: Pace) -> None:
        self._profile = profile
        self._pace = pace
        self._lock = threading.Lock()
        self._sent = threading.local()
        self._token = ""
        self._expires = 0.0
        self._refused = ""

    def get_authorization_header(self) -> str:
        """The header for the next request of this thread.

        Raises:
            DownloadError: `not-configured` or `globus-login`; `params-file`, `params-busy`.
            GlobusError: when the token cannot be refreshed.
        """
        with self._lock:
            if not self._is_good(self._token, self._expires):
                self._adopt(self._stored_or_refreshed())
            self._sent.token = self._token
            return f"Bearer {self._token}"

    def handle_missing_authorization(self) -> bool:
        """Note that the token of this thread's last request was refused (401); another thread may have a newer one."""
        with self._lock:
            self._refused = self._sent.token
        return True

    def _is_good(self, token: object, expires: float) -> bool:
        return bool(token) and token != self._refused and self._pace.now() < expires - _MARGIN_SECONDS

    def _adopt(self, fields: Json) -> None:
        self._token = str(fields["access_token"])
        self._expires = _seconds(fields)

    def _stored_or_refreshed(self) -> Json:
        fields = store.profile(PROTOCOL, self._profile)
        if fields is None:
            detail = f"There is no profile {PROTOCOL}.{self._profile} in {store.path()}."
            raise error("not-configured", detail)
        if self._is_good(fields.get("access_token"), _seconds(fields)):
            return fields
        with store.held(PROTOCOL, self._profile) as mine:
            fields = mine.fields()
            if self._is_good(fields.get("access_token"), _seconds(fields)):
                return fields
            return mine.merge(self._refresh(fields))

    def _refresh(self, fields: Json) -> Json:
        if not fields.get("refresh_token"):
            detail = f"The profile {PROTOCOL}.{self._profile} has no valid token, and none to refresh it with."
            raise error("globus-login", detail)
        client = native_client(fields, self._profile)
        fresh = token_fields(client.oauth2_refresh_token(fields["refresh_token"]), self._profile)
        # A reply that does not say how long its token lives must not make every call refresh it: a 401 tells soon.
        at_least = int(self._pace.now() + 2 * _MARGIN_SECONDS)
        return {**fresh, "expires_at_seconds": max(at_least, int(_seconds(fresh)))}


def _seconds(fields: Json) -> float:
    """Expiry in seconds since the epoch, which know no time zone; null and missing ones are long ago."""
    return float(fields.get("expires_at_seconds") or 0)
