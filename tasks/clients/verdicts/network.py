"""What went wrong on the wire: libcurl's numbers, HTTP's and S3's words, `Retry-After`, and `requests`."""

from __future__ import annotations

import email.utils
import re
import socket
import ssl
from typing import TYPE_CHECKING

from requests import exceptions as requests_errors
from urllib3.exceptions import DecodeError, NewConnectionError

from tasks.clients.verdicts.rules import DownloadError, error
from tasks.clients.verdicts.words import causes_of, why

if TYPE_CHECKING:
    from collections.abc import Mapping

#: libcurl's error numbers (https://curl.se/libcurl/c/libcurl-errors.html). 28 (time-out), 23 and 42 (our own
#: callbacks) are told apart by the wire, which knows the phase.
_CURL = {
    1: "redirect",  # CURLE_UNSUPPORTED_PROTOCOL: https to http, or to file:
    3: "bad-request",  # CURLE_URL_MALFORMAT
    5: "dns",  # CURLE_COULDNT_RESOLVE_PROXY
    6: "dns",  # CURLE_COULDNT_RESOLVE_HOST
    7: "connect",  # CURLE_COULDNT_CONNECT
    8: "protocol",  # CURLE_WEIRD_SERVER_REPLY
    16: "protocol",  # CURLE_HTTP2
    18: "connection-lost",  # CURLE_PARTIAL_FILE
    35: "connection-lost",  # CURLE_SSL_CONNECT_ERROR: cut or reset during the handshake
    47: "redirect",  # CURLE_TOO_MANY_REDIRECTS
    52: "connection-lost",  # CURLE_GOT_NOTHING
    55: "connection-lost",  # CURLE_SEND_ERROR
    56: "connection-lost",  # CURLE_RECV_ERROR
    58: "tls",  # CURLE_SSL_CERTPROBLEM
    59: "tls",  # CURLE_SSL_CIPHER
    60: "tls",  # CURLE_PEER_FAILED_VERIFICATION
    61: "protocol",  # CURLE_BAD_CONTENT_ENCODING
    77: "tls",  # CURLE_SSL_CACERT_BADFILE
    83: "tls",  # CURLE_SSL_ISSUER_ERROR
    90: "tls",  # CURLE_SSL_PINNEDPUBKEYNOTMATCH
    91: "tls",  # CURLE_SSL_INVALIDCERTSTATUS
    92: "protocol",  # CURLE_HTTP2_STREAM
    97: "connect",  # CURLE_PROXY
    100: "protocol",  # CURLE_TOO_LARGE: headers beyond every limit
}


def curl_error(number: int, message: str, where: str) -> DownloadError:
    """The verdict on a failure of libcurl."""
    return error(_CURL.get(number, "protocol"), f"{where}: {message or 'libcurl'} ({number}).")


#: S3's own words for an error are more exact than the status (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
_S3 = {
    "SlowDown": "throttled",
    "RequestLimitExceeded": "throttled",
    "InternalError": "server-error",
    "ServiceUnavailable": "server-error",
    "RequestTimeout": "connection-lost",
    "ExpiredToken": "unauthorised",
    "InvalidToken": "unauthorised",
    "TokenRefreshRequired": "unauthorised",
    "InvalidAccessKeyId": "unauthorised",
    "SignatureDoesNotMatch": "unauthorised",
    "RequestTimeTooSkewed": "unauthorised",
    "AccessDenied": "forbidden",
    "NoSuchKey": "not-found",
    "NoSuchBucket": "not-found",
    "NoSuchVersion": "not-found",
    "PreconditionFailed": "changed",
    "PermanentRedirect": "redirect",
    "AuthorizationHeaderMalformed": "bad-request",
    "InvalidObjectState": "forbidden",
}
_STATUS = {
    0: "protocol",  # no status: what answers speaks no HTTP
    401: "unauthorised",
    403: "forbidden",
    404: "not-found",
    407: "unauthorised",
    408: "connection-lost",
    410: "not-found",
    412: "changed",
    416: "range-refused",
    425: "throttled",
    429: "throttled",
    501: "bad-request",
    505: "bad-request",
    509: "throttled",
}


def http_status(
    status: int, where: str, headers: Mapping[str, str] | None = None, body: bytes = b"", *, now: float = 0.0
) -> DownloadError:
    """The verdict on an answer that is not the file.

    Args:
        status: HTTP status.
        where: File and host, for the human; never with a query string, which may hold a signature.
        headers: Answer headers, names in lower case.
        body: The beginning of the answer's body; an S3 error document is looked into.
        now: Seconds since the epoch, to read `Retry-After` dates against.
    """
    word = _s3_code(body)
    wait = retry_after((headers or {}).get("retry-after", ""), now)
    code = _S3.get(word) or status_code(status)
    if code == "server-error" and wait is not None:
        code = "throttled"
    return error(code, f"{where}: HTTP {status}{f' {word}' if word else ''}.", retry_after=wait)


def status_code(status: int) -> str:
    """The row of a bare HTTP status."""
    if status in _STATUS:
        return _STATUS[status]
    if status >= 500:  # noqa: PLR2004
        return "server-error"
    return "redirect" if 300 <= status < 400 else "bad-request"  # noqa: PLR2004


def _s3_code(body: bytes) -> str:
    """The `<Code>` of an S3 error document; a search, since XML of strangers is not worth a parser's risks."""
    found = re.search(rb"<Error>.{0,200}?<Code>([A-Za-z]{1,64})</Code>", body[:4096], re.DOTALL)
    return found[1].decode() if found else ""


#: Longer waits are not credible (a clock that is off, a hostile server); the caller gives up sooner anyway.
_LONGEST_RETRY_AFTER = 7 * 24 * 3600.0


def retry_after(value: str, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number or a date (RFC 9110 10.2.3); None if it says nothing.

    A date in the past is 0, anything beyond a week counts as a week.
    """
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,9})?", text):
        return min(float(text), _LONGEST_RETRY_AFTER)
    try:
        moment: float = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, moment - now), _LONGEST_RETRY_AFTER)


#: Why `requests` brings no answer, the surest signs first.
_NO_ANSWER: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (ssl.SSLCertVerificationError, "tls"),
    ((requests_errors.InvalidURL, requests_errors.InvalidSchema, requests_errors.MissingSchema), "bad-params"),
    ((requests_errors.ProxyError, ConnectionRefusedError), "connect"),
    (socket.gaierror, "dns"),
    (requests_errors.ConnectTimeout, "connect-timeout"),
    ((requests_errors.Timeout, TimeoutError), "stalled"),
    (NewConnectionError, "connect"),
    (DecodeError, "protocol"),
)


def unreachable(failure: Exception, where: str) -> DownloadError:
    """The verdict where `requests` brings no answer; the failure's own text may hold a proxy's password."""
    causes = tuple(causes_of(failure))
    if type(failure) is OSError:  # what requests raises where REQUESTS_CA_BUNDLE names no file
        return error("tls", f"{where}: {failure}.")
    codes = (code for kinds, code in _NO_ANSWER if any(isinstance(cause, kinds) for cause in causes))
    return error(next(codes, "connection-lost"), f"{where}: {why(failure, causes)}.")
