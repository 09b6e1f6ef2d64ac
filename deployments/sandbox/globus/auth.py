"""The Auth service: the token endpoint and its login page."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

from deployments.sandbox.globus.errors import AuthError

if TYPE_CHECKING:
    from deployments.sandbox.globus.store import Json
    from deployments.sandbox.globus.web import Call


def _client(call: Call, form: dict[str, str]) -> str:
    """Who asks for a token: a confidential client by HTTP Basic, a native one by its mere id."""
    kind, _, encoded = call.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return form.get("client_id", "")
    client, _, secret = base64.b64decode(encoded).decode().partition(":")
    call.service.tokens.authenticate(client, secret)
    return client


def token(call: Call) -> Json:
    """Answer one of the three grants."""
    form, tokens = call.form(), call.service.tokens
    client = _client(call, form)
    grant = form.get("grant_type")
    if grant == "refresh_token":
        return tokens.refresh(form.get("refresh_token", ""), client)
    if grant == "client_credentials" and "authorization" in call.headers:
        return tokens.grant(client, form.get("scope", ""), refresh=False)
    if grant == "authorization_code":
        return tokens.exchange(
            form.get("code", ""), client, form.get("code_verifier", ""), form.get("redirect_uri", "")
        )
    raise AuthError(400, "unsupported_grant_type")


def revoke(call: Call) -> Json:
    """Forget a token."""
    form = call.form()
    _client(call, form)
    call.service.tokens.revoke(form.get("token", ""))
    return {"active": False}


def authorize(call: Call) -> HTMLResponse:
    """The login page: logs in whoever comes, and shows the code to paste."""
    names = ("redirect_uri", "code_challenge", "scope", "access_type", "state")
    code = call.service.tokens.add_code(
        call.query.get("client_id", ""), {name: call.query.get(name, "") for name in names}
    )
    return HTMLResponse(f"<!DOCTYPE html><title>Log in</title><p>Your code: <code>{code}</code>")
