"""What Alyx answers when it does not answer: JSON of its own, and pages of the servers before it."""

from __future__ import annotations

import json
import re
import ssl
from http import HTTPStatus
from typing import Any

from requests import exceptions as requests_errors

from tasks.clients.verdicts.rules import DownloadError, error
from tasks.clients.verdicts.words import causes_of, parsed, shortened, why

#: What DRF says with a 403 (Alyx never answers 401), word for word.
_ALYX_WORDS = {
    "Invalid token.": "alyx-token",
    "Invalid token header. No credentials provided.": "alyx-token",
    "Invalid token header. Token string should not contain spaces.": "alyx-token",
    "Authentication credentials were not provided.": "alyx-no-credentials",
    "User inactive or deleted.": "alyx-login",
}
_ALYX_JSON = {401: "alyx-gateway", 403: "alyx-forbidden", 404: "alyx-not-found", 429: "alyx-throttled"}
#: The same for answers that are no JSON: they come from the web server, from a proxy, or from somewhere else.
_ALYX_PAGES = {
    400: "alyx-url",  # Django does not serve that host name
    401: "alyx-gateway",
    403: "alyx-gateway",
    404: "alyx-not-found",
    405: "alyx-url",  # a file server; Alyx says this in JSON
    407: "alyx-gateway",
    429: "alyx-throttled",
}
#: Fields that only the login has; its 400 has no `detail`.
_LOGIN_FIELDS = {"non_field_errors", "username", "password"}
#: What OpenSSL makes of an answer in plain text, older releases and newer.
_NO_TLS = {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG"}
_TITLE = re.compile(r"<title[^>]*>\s*(.*?)\s*</title>", re.IGNORECASE | re.DOTALL)


def alyx_answer(
    status: int, content_type: str, body: str, *, request: str = "", login: str = "", retry_after: float | None = None
) -> DownloadError:
    """Classify an answer of Alyx that is not what was asked for, an unreadable 200 included.

    Args:
        status: HTTP status.
        content_type: As the answer states it.
        body: Its text.
        request: What was asked, for the message: method and URL.
        login: With which credentials, for the message; named where they are the matter.
        retry_after: Seconds, where the answer names them.
    """
    said = parsed(content_type, body)
    code = _alyx_page_code(status, content_type) if said is None else _alyx_json_code(status, said)
    words = _page_words(content_type, body) if said is None else _json_words(said)
    who = (
        f" ({login})" if login and code in ("alyx-login", "alyx-token", "alyx-no-credentials", "alyx-forbidden") else ""
    )
    return error(code, f"{shortened(request)}: {status}, {words}{who}.", retry_after=retry_after)


def _alyx_json_code(status: int, said: Any) -> str:
    fields = set(said) - {"status_code"} if isinstance(said, dict) else set()
    if status in (401, 403) and (word := _ALYX_WORDS.get(str(said.get("detail") if fields else ""))):
        return word
    if status == HTTPStatus.BAD_REQUEST and fields and fields <= _LOGIN_FIELDS:
        return "alyx-login"
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and isinstance(said, dict) and "status_code" in said:
        return "alyx-error"  # an exception in Alyx's own code: it follows from the request
    return _ALYX_JSON.get(status) or _by_class(status)


def _alyx_page_code(status: int, content_type: str) -> str:
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return "alyx-failed" if "json" in content_type else "alyx-url"
    return _ALYX_PAGES.get(status) or _by_class(status)


def _by_class(status: int) -> str:
    return {3: "alyx-redirect", 4: "alyx-bad-request"}.get(status // 100, "alyx-failed")


def _json_words(said: Any) -> str:
    """What Alyx says, in one line: its `detail`, or each field with what is wrong with it."""
    if not isinstance(said, dict):
        return shortened(json.dumps(said))
    if detail := said.get("detail"):
        return shortened(str(detail))
    fields = {name: value for name, value in said.items() if name != "status_code"}
    return shortened("; ".join(f"{name}: {_listed(value)}" for name, value in fields.items()))


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _page_words(content_type: str, body: str) -> str:
    kind = content_type.partition(";")[0].strip() or "nothing"
    if "json" in kind:
        return "JSON that breaks off or is malformed"
    title = _TITLE.search(body)
    return f'a web page titled "{shortened(title[1])}"' if title else f"{kind} instead of JSON"


def alyx_unreachable(failure: Exception, *, request: str = "") -> DownloadError:
    """Classify why no answer came: the network, a certificate, a proxy, or an address that is none."""
    causes = tuple(causes_of(failure))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return error("alyx-certificate", f"{request}: {cause.verify_message}.")
        if isinstance(cause, ssl.SSLError) and getattr(cause, "reason", None) in _NO_TLS:
            return error("alyx-url", f"{request}: no TLS is spoken there; http:// may be right.")
    if isinstance(failure, requests_errors.ProxyError):
        return error("alyx-gateway", f"{request}: the proxy refuses.")  # its text may hold the proxy's password
    if isinstance(failure, requests_errors.InvalidURL | requests_errors.InvalidSchema):
        return error("alyx-url", f"{request} is no web address.")
    if type(failure) is OSError:  # what requests raises where REQUESTS_CA_BUNDLE names no file
        return error("alyx-certificate", f"{request}: {failure}.")
    return error("alyx-unreachable", f"{request}: {why(failure, causes)}.")
