"""What the gateways of kachery answer when they do not answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from tasks.clients.verdicts.network import http_status
from tasks.clients.verdicts.rules import DownloadError, error
from tasks.clients.verdicts.words import parsed, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What gateways say, from the sources of both generations; the old one says all of it with a 500.
_KACHERY_WORDS = {
    "Invalid hash": "not-addressable",
    "Zone not found": "not-addressable",
    "Error getting metadata for object": "not-addressable",  # the old one, where a zone's settings are missing
    "User API token must be provided": "not-configured",
    "No verified client ID": "not-configured",
    "no user for token": "unauthorised",
    "Client not registered": "unauthorised",
    "Invalid signature": "unauthorised",
    "not allowed to download": "forbidden",
    "not authorized": "forbidden",
    "Object does not exist": "not-found",  # the new one in its first versions, in place of `found: false`
    "Bucket URI not set": "bad-request",
    "Credentials not set": "bad-request",
}
_PATIENCE = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


def kachery_answer(
    status: int, where: str, headers: Mapping[str, str], body: bytes, *, keyed: bool, now: float
) -> DownloadError:
    """The verdict on an answer of a kachery gateway that names no file; a 200 that makes no sense is one, too.

    Args:
        status: HTTP status.
        where: What was asked for, and of which host.
        headers: Answer headers, names in lower case.
        body: The beginning of what it says: JSON, or plain text.
        keyed: Whether a key was sent along.
        now: Seconds since the epoch, to read `Retry-After` dates against.
    """
    text = body.decode("utf-8", "replace")
    said = parsed(headers.get("content-type", ""), text)
    words = str(said.get("error", "")) if isinstance(said, dict) else text
    known = (code for word, code in _KACHERY_WORDS.items() if word in words)
    code = next(known, "") if status >= HTTPStatus.BAD_REQUEST else ""
    if not code and (status in _PATIENCE or status >= HTTPStatus.INTERNAL_SERVER_ERROR):
        return http_status(status, where, headers, body, now=now)
    code = code or _kachery_status(status, words if said else "", keyed=keyed)
    return error(code, f"{where}: HTTP {status}, {shortened(words) or 'without a word'}.")


def _kachery_status(status: int, words: str, *, keyed: bool) -> str:
    """The row of an answer in words that nobody knows; without any in JSON, it does not come from a gateway."""
    if words and status == HTTPStatus.UNAUTHORIZED:
        return "unauthorised" if keyed else "not-configured"
    return "bad-request" if words and status >= HTTPStatus.BAD_REQUEST else "kachery-gateway"
