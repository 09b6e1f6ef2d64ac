"""Setting Globus up for a person at a terminal, and taking the login back."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import globus_sdk

from tasks.clients import profiles, store
from tasks.clients.globus.asking import verdict_on
from tasks.clients.globus.endpoints import endpoint_uuid
from tasks.clients.globus.local import installed_endpoint, writable_paths
from tasks.clients.globus.login import PROTOCOL, native_client, service_account, token_fields
from tasks.clients.profiles import Field

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

_log = logging.getLogger(__name__)

_SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"
_DATA_ACCESS = "https://auth.globus.org/scopes/{}/data_access"
_TOKENS = ("refresh_token", "access_token", "expires_at_seconds")


def set_up(profile: str, given: Mapping[str, object]) -> Json:
    """Write a profile, and log its person in; a service account needs no login, and is stored nowhere.

    Args:
        profile: Its name.
        given: Fields that need not be asked for; a `refresh_token` makes the login needless.

    Raises:
        DownloadError: as :func:`profiles.setup`; `globus-login`, where the login fails (the other fields are written).
    """
    asked_for = {name: value for name, value in given.items() if name not in _TOKENS}
    is_service = service_account({}) is not None
    wanted = _wanted(needs_client=not is_service)
    tokens = {name: given[name] for name in _TOKENS if given.get(name)}
    fields = profiles.setup(PROTOCOL, profile, wanted, asked_for)
    _check(fields)
    if not tokens and not is_service:
        tokens = _log_in(fields, profile) if _at_terminal() else {}
    if not is_service and not {**fields, **tokens}.get("refresh_token"):
        _log.warning("Nobody is logged in to Globus yet: run `prefect-alyx setup globus` at a terminal.")
    return store.merge_profile(PROTOCOL, profile, tokens) if tokens else fields


def log_out(profile: str) -> None:
    """Revoke a profile's tokens, then forget them.

    Raises:
        DownloadError: when Globus cannot be reached; the tokens stay, so that it can be tried again.
    """
    fields = store.profile(PROTOCOL, profile) or {}
    client = native_client(fields, profile)
    try:
        for name in ("refresh_token", "access_token"):
            if fields.get(name):
                client.oauth2_revoke_token(fields[name])
    except globus_sdk.GlobusError as failure:
        raise verdict_on(failure, "revoking the tokens", 0.0) from None
    # ONE computes with the expiry: a null there would make it fail.
    store.merge_profile(PROTOCOL, profile, {"refresh_token": None, "access_token": None, "expires_at_seconds": 0})


def _wanted(*, needs_client: bool) -> tuple[Field, ...]:
    paths = writable_paths()
    return (
        Field("GLOBUS_CLIENT_ID", "Globus client ID", optional=not needs_client),
        Field("local_endpoint", "UUID of this computer's endpoint", default=installed_endpoint(), optional=True),
        Field("local_path", "Directory that it shows", default=str(paths[0]) if paths else None, optional=True),
        Field("local_endpoint_path", "What it calls that directory, if not the same", optional=True),
        Field("data_access", "Collections that ask for a consent (UUIDs with commas, mostly none)", optional=True),
    )


def _check(fields: Json) -> None:
    """Refuse what is no UUID, before anybody logs in to it."""
    if fields.get("GLOBUS_CLIENT_ID"):
        endpoint_uuid(fields["GLOBUS_CLIENT_ID"], "GLOBUS_CLIENT_ID")
    for endpoint_id in (fields.get("local_endpoint"), *_collections(fields)):
        if endpoint_id:
            endpoint_uuid(endpoint_id, "The profile")


def _collections(fields: Json) -> list[str]:
    return [text.strip() for text in str(fields.get("data_access") or "").split(",") if text.strip()]


def _log_in(fields: Json, profile: str) -> Json:
    """The tokens for the code that a person pastes; none for an empty answer, where there is a login already."""
    client = native_client(fields, profile)
    dependencies = " ".join("*" + _DATA_ACCESS.format(collection) for collection in _collections(fields))
    client.oauth2_start_flow(f"{_SCOPE}[{dependencies}]" if dependencies else _SCOPE, refresh_tokens=True)
    url = client.oauth2_get_authorize_url(prompt="login")
    keep = " (empty keeps the login)" if fields.get("refresh_token") else ""
    sys.stderr.write(f"Log in on this page:\n{url}\nThen enter the code that it shows{keep}: ")
    sys.stderr.flush()
    code = sys.stdin.readline().strip()
    if not code and keep:
        return {}
    try:
        return token_fields(client.oauth2_exchange_code_for_tokens(code), profile)
    except globus_sdk.GlobusError as failure:
        raise verdict_on(failure, "the code", 0.0) from None


def _at_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
