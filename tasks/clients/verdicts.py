"""Every error, its verdict, and the next step for a human.

One table, `RULES`, says what each error means; the functions below it only find the row. Nothing
else in the project matches the text of an error. A test goes through the table row by row, and
the error catalogue in the documentation is generated from it.
"""

from __future__ import annotations

import email.utils
import errno
import json
import re
import shutil
import sqlite3
import ssl
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from requests import exceptions as requests_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Verdict(StrEnum):
    """What an error means for what happens next."""

    RETRY = "RETRY"  # transient: the same source may answer in a moment
    NEXT_SOURCE = "NEXT_SOURCE"  # permanent at this source: ask the next one, and this one not again
    SKIP_FILE = "SKIP_FILE"  # nowhere: this file cannot be had, the run goes on
    STOP_RUN = "STOP_RUN"  # nothing else will work either: stop at once


class Scope(StrEnum):
    """How far an error reaches."""

    SOURCE = "this source"
    FILE = "this file"
    RUN = "this run"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table."""

    verdict: Verdict
    scope: Scope
    meaning: str
    next_step: str


def _row(verdict: str, scope: str, meaning: str, next_step: str) -> Rule:
    return Rule(Verdict[verdict], Scope[scope], meaning, next_step)


RULES: dict[str, Rule] = {
    # --- the wire -------------------------------------------------------------------------------
    "dns": _row(
        "RETRY",
        "SOURCE",
        "The host name cannot be resolved.",
        "Check the network, the VPN and the repository's host name in Alyx.",
    ),
    "connect": _row(
        "RETRY",
        "SOURCE",
        "The server cannot be reached.",
        "Check the network, the VPN and whether the server is up; `prefect-alyx doctor` tries each one.",
    ),
    "connect-timeout": _row(
        "RETRY",
        "SOURCE",
        "The server did not accept a connection in time.",
        "Check the network, the VPN and the firewall between here and the server.",
    ),
    "tls": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The server's certificate cannot be trusted.",
        "Renew the server's certificate, or name the lab's own CA in REQUESTS_CA_BUNDLE; check this clock.",
    ),
    "connection-lost": _row(
        "RETRY",
        "SOURCE",
        "The connection was lost in mid-file.",
        "Nothing to do now: the bytes received are kept, and the next attempt resumes there.",
    ),
    "stalled": _row(
        "RETRY",
        "SOURCE",
        "Bytes came too slowly for too long.",
        "Nothing to do now: the bytes are kept; if it stays, look at the server or raise stall_seconds.",
    ),
    "deadline": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The file took longer than its size allows.",
        "Run again: the bytes are kept and the next run resumes there.",
    ),
    "protocol": _row(
        "RETRY",
        "SOURCE",
        "The server's answer breaks the protocol.",
        "Run again; if it stays, a proxy in between may alter answers: ask its administrator.",
    ),
    "redirect": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The server redirects to a place that is not followed.",
        "Correct the repository's data_url in Alyx: credentials never follow a redirect.",
    ),
    # --- what a server answers ------------------------------------------------------------------
    "throttled": _row(
        "RETRY", "SOURCE", "The server asks for patience.", "Nothing to do: the wait it asks for is kept."
    ),
    "server-error": _row(
        "RETRY", "SOURCE", "The server failed.", "Run again later; tell the server's administrator if it stays."
    ),
    "unauthorised": _row(
        "STOP_RUN",
        "RUN",
        "The server refuses the credentials (401).",
        "Run `prefect-alyx setup` for this repository's protocol, or correct its login in ~/.one.",
    ),
    "forbidden": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The server forbids this file (403).",
        "Ask the repository's administrator for access to this file.",
    ),
    "refused": _row(
        "STOP_RUN",
        "RUN",
        "The credentials are refused: no file is allowed any more.",
        "Renew the credentials (`prefect-alyx setup`, or the keys in Alyx), then run again: it resumes.",
    ),
    "not-found": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The file is not at this source.",
        "Correct the file record's `exists` in Alyx, or put the file back on the server.",
    ),
    "bad-request": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The server cannot serve this request.",
        "Check the repository's settings in Alyx (data_url, bucket, region).",
    ),
    "range-refused": _row(
        "RETRY",
        "SOURCE",
        "The server answered another range than the one asked for.",
        "Nothing to do now: the file is fetched from its beginning.",
    ),
    "changed": _row(
        "RETRY",
        "SOURCE",
        "The file changed on the server between two attempts.",
        "Nothing to do now: the file is fetched from its beginning, never spliced.",
    ),
    "not-data": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The server sent a web page instead of data.",
        "Open the address in a browser: a login page or an error page is in the way.",
    ),
    # --- proof ----------------------------------------------------------------------------------
    "size-mismatch": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The file's size at this source is not what Alyx registers.",
        "Compare the file on the server with Alyx: one of the two is wrong.",
    ),
    "digest-mismatch": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The file's digest at this source is not what Alyx registers.",
        "Compare the file on the server with Alyx: one of the two is wrong.",
    ),
    "bad-digest": _row(
        "SKIP_FILE",
        "FILE",
        "Alyx registers a digest that is neither md5 nor sha1.",
        "Correct the dataset's hash in Alyx.",
    ),
    # --- addresses and paths ----------------------------------------------------------------------
    "bad-path": _row(
        "SKIP_FILE",
        "FILE",
        "The registered path is not a safe place under the root.",
        "Correct the file record's relative_path in Alyx.",
    ),
    "not-addressable": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "This repository gives no address for the file.",
        "Check the repository in Alyx: its data_url, its json, its globus_path.",
    ),
    "no-source": _row(
        "SKIP_FILE",
        "FILE",
        "No usable source has this file.",
        "Check the dataset's file records and their `exists` in Alyx.",
    ),
    "not-configured": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "This protocol has no parameters here.",
        "Run `prefect-alyx setup` for the protocol, or leave it out of the precedence.",
    ),
    "params-file": _row(
        "STOP_RUN",
        "RUN",
        "A params file of ONE cannot be used.",
        "Do what the message says, or run `prefect-alyx setup` for the protocol.",
    ),
    "params-busy": _row(
        "RETRY",
        "SOURCE",
        "Another process holds a params file of ONE.",
        "Nothing to do now; if it stays, end the process that hangs.",
    ),
    "bad-params": _row(
        "STOP_RUN",
        "RUN",
        "A parameter cannot be used.",
        "Correct the field that the message names; `prefect-alyx setup` asks for each one.",
    ),
    # --- this machine -----------------------------------------------------------------------------
    "disk-full": _row(
        "STOP_RUN",
        "RUN",
        "The disk is full.",
        "Free some space and run again: what is on disk is kept, and the rest resumes.",
    ),
    "read-only": _row(
        "STOP_RUN", "RUN", "The place cannot be written.", "Check the owner, the mode and the mount of the root."
    ),
    "target": _row(
        "SKIP_FILE",
        "FILE",
        "Something else stands where the file belongs.",
        "Move away what stands there, then run again.",
    ),
    "name-too-long": _row(
        "SKIP_FILE",
        "FILE",
        "The file system cannot hold this name.",
        "Choose a root on another file system, or rename the dataset in Alyx.",
    ),
    "local-io": _row(
        "RETRY",
        "FILE",
        "The local file system failed.",
        "Check the disk or the file server behind the root; then run again.",
    ),
    "stopped": _row("STOP_RUN", "RUN", "The run was asked to stop.", "Run again: it resumes where it stopped."),
    "no-space": _row(
        "STOP_RUN",
        "RUN",
        "The disk is too small for what is planned.",
        "Free some space, choose another root, or select less (`--max-size`, fewer sessions).",
    ),
    "no-root": _row(
        "STOP_RUN",
        "RUN",
        "Nobody says where the files go.",
        "Give `--root`, or set PREFECT_INTEGRATIONS_ALYX_ROOT.",
    ),
    "bad-root": _row(
        "STOP_RUN",
        "RUN",
        "The root is no directory and cannot be made one.",
        "Give another `--root`, or move away what stands in its place.",
    ),
    "settings": _row(
        "STOP_RUN",
        "RUN",
        "A setting cannot be used.",
        "Correct it in the environment or in Prefect's profile; `prefect config view` shows where it comes from.",
    ),
    "run-died": _row(
        "RETRY",
        "RUN",
        "The run died before it could conclude.",
        "Look at the flow run in Prefect's UI, then run again: it resumes.",
    ),
    "prefect-server": _row(
        "RETRY",
        "RUN",
        "The local Prefect server does not come up.",
        "Look into the log, or set PREFECT_API_URL to a server that runs.",
    ),
    "prefect-api": _row(
        "RETRY",
        "RUN",
        "The Prefect API cannot be used.",
        "Start that server, or correct PREFECT_API_URL; without it, a local server is started. Nothing is lost.",
    ),
    "prefect-refused": _row(
        "STOP_RUN",
        "RUN",
        "The Prefect API refuses this client.",
        "Set PREFECT_API_KEY (Prefect Cloud) or PREFECT_API_AUTH_STRING, or correct PREFECT_API_URL.",
    ),
    # --- the plan and the ledger ------------------------------------------------------------------
    "bad-plan": _row(
        "STOP_RUN",
        "RUN",
        "The plan cannot be read.",
        "Run again: a new plan is made, and what is on disk is kept.",
    ),
    "ledger-locked": _row(
        "RETRY",
        "RUN",
        "Another process holds the ledger.",
        "Try again; if it stays, end the process that hangs. A fleet keeps its ledger on PostgreSQL.",
    ),
    "ledger-corrupt": _row(
        "STOP_RUN",
        "RUN",
        "The ledger is damaged.",
        "Bring it back from a backup, or move it away: the next run verifies the files on disk and makes a new one.",
    ),
    "ledger-newer": _row(
        "STOP_RUN",
        "RUN",
        "A newer version of prefect-alyx made the ledger.",
        "Install that version or a later one; this one leaves the ledger as it is.",
    ),
    "ledger": _row(
        "STOP_RUN",
        "RUN",
        "The ledger cannot be used.",
        "Check the database that the message names; the files on disk are untouched.",
    ),
    # --- Alyx ---------------------------------------------------------------------------------------
    "alyx-unreachable": _row(
        "RETRY", "RUN", "Alyx cannot be reached.", "Check ALYX_URL, the network and the VPN; then try again."
    ),
    "alyx-login": _row(
        "STOP_RUN",
        "RUN",
        "Alyx refuses the user name or the password.",
        "Check ALYX_LOGIN and ALYX_PASSWORD (or ALYX_TOKEN), or log in again with ONE.",
    ),
    "alyx-no-credentials": _row(
        "STOP_RUN",
        "RUN",
        "Alyx asks for a login, and none is configured.",
        "Set ALYX_LOGIN and ALYX_PASSWORD, or ALYX_TOKEN, or log in once with ONE.",
    ),
    "alyx-token": _row(
        "STOP_RUN",
        "RUN",
        "Alyx refuses the token.",
        "Set ALYX_PASSWORD so that a new token can be had, or correct ALYX_TOKEN.",
    ),
    "alyx-forbidden": _row(
        "STOP_RUN", "RUN", "This Alyx user may not do that.", "Ask the Alyx administrator for the permission."
    ),
    "alyx-not-found": _row("SKIP_FILE", "FILE", "Alyx has no such record.", "Check the name or the id against Alyx."),
    "alyx-bad-request": _row(
        "SKIP_FILE", "FILE", "Alyx cannot understand the request.", "Check the selection: the message names the field."
    ),
    "alyx-throttled": _row("RETRY", "RUN", "Alyx asks for patience.", "Nothing to do: the wait it asks for is kept."),
    "alyx-failed": _row(
        "RETRY",
        "RUN",
        "Alyx or the server before it failed.",
        "Try again later; tell the Alyx administrator if it stays.",
    ),
    "alyx-incomplete": _row(
        "RETRY",
        "RUN",
        "Alyx's answer does not hold the rows that it counts.",
        "Try again; if it stays, select fewer sessions at a time.",
    ),
    "alyx-no-url": _row(
        "STOP_RUN",
        "RUN",
        "No Alyx server is configured.",
        "Set ALYX_URL, or set up ONE once; `prefect-alyx doctor` shows what is found.",
    ),
    "alyx-url": _row(
        "STOP_RUN",
        "RUN",
        "What answers is not Alyx.",
        "Check ALYX_URL: open it in a browser, and leave out /admin and the like.",
    ),
    "alyx-certificate": _row(
        "STOP_RUN",
        "RUN",
        "Alyx's certificate cannot be trusted.",
        "Renew Alyx's certificate, or name the lab's own CA in REQUESTS_CA_BUNDLE; check this clock.",
    ),
    "alyx-gateway": _row(
        "STOP_RUN",
        "RUN",
        "Something between here and Alyx refuses the request.",
        "Check HTTPS_PROXY and NO_PROXY, and ask who runs Alyx's web server which login it wants.",
    ),
    "alyx-redirect": _row(
        "STOP_RUN",
        "RUN",
        "Alyx redirects to a place that is not followed.",
        "Correct ALYX_URL: credentials never go to another host.",
    ),
    "alyx-error": _row(
        "SKIP_FILE",
        "FILE",
        "Alyx fails on this very request, and would fail again.",
        "Check the values in the request; if they are right, show this message to the Alyx administrator.",
    ),
    "alyx-too-large": _row(
        "SKIP_FILE",
        "FILE",
        "Alyx's answer is larger than this client takes.",
        "Ask for fewer rows at a time.",
    ),
    "selection": _row(
        "STOP_RUN",
        "RUN",
        "The selection cannot be used.",
        "Correct what the message names; `prefect-alyx plan --help` lists the fields.",
    ),
}


class DownloadError(Exception):
    """An error with a verdict, a reason and a next step; the only one that clients raise.

    Args:
        verdict: What it means for what happens next.
        reason: What happened, to which file, at which source: one sentence for a human.
        next_step: What the human can do.
        code: The row of `RULES`.
        retry_after: Seconds that the server asks to wait, where it does.
    """

    def __init__(
        self, verdict: Verdict, reason: str, next_step: str = "", *, code: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(verdict, reason, next_step)
        self.verdict = verdict
        self.reason = reason
        self.next_step = next_step
        self.code = code
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.reason} {self.next_step}".strip()


def error(code: str, detail: str = "", *, retry_after: float | None = None) -> DownloadError:
    """Make the error of a row; `detail` says which file, which source, which values."""
    rule = RULES[code]
    reason = f"{rule.meaning} {detail}".strip()
    return DownloadError(rule.verdict, reason, rule.next_step, code=code, retry_after=retry_after)


# --- finding the row ------------------------------------------------------------------------------

_ERRNO = {
    errno.ENOSPC: "disk-full",
    errno.EDQUOT: "disk-full",
    errno.EFBIG: "disk-full",
    errno.EROFS: "read-only",
    errno.EACCES: "read-only",
    errno.EPERM: "read-only",
    errno.EISDIR: "target",
    errno.ENOTDIR: "target",
    errno.EEXIST: "target",
    errno.ENOTEMPTY: "target",
    errno.ENAMETOOLONG: "name-too-long",
    errno.EINVAL: "name-too-long",
    errno.EILSEQ: "name-too-long",
    errno.ELOOP: "bad-path",
}


def os_error(failure: OSError, path: object) -> DownloadError:
    """The verdict on a failure of the local file system; a full disk says how much is free."""
    code = _ERRNO.get(failure.errno or 0, "local-io")
    detail = f"{path}: {failure.strerror or failure}."
    if code == "disk-full":
        detail += f" {_free(path)} bytes are free there."
    return error(code, detail)


def _free(path: object) -> str:
    place = Path(str(path))
    for parent in (place, *place.parents):
        if parent.exists():
            return f"{shutil.disk_usage(parent).free:,}"
    return "?"


#: SQLite's result codes, without what refines them (https://www.sqlite.org/rescode.html).
_SQLITE = {
    sqlite3.SQLITE_FULL: "disk-full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "read-only",
    sqlite3.SQLITE_CANTOPEN: "read-only",
    sqlite3.SQLITE_BUSY: "ledger-locked",
    sqlite3.SQLITE_LOCKED: "ledger-locked",
    sqlite3.SQLITE_CORRUPT: "ledger-corrupt",
    sqlite3.SQLITE_NOTADB: "ledger-corrupt",
    sqlite3.SQLITE_IOERR: "local-io",
}


def ledger_error(failure: BaseException, where: object) -> DownloadError:
    """The verdict on a failure of the ledger's database: SQLite's, or that of a driver for another one."""
    primary = getattr(failure, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    code = _SQLITE.get(primary, "ledger")
    return error(
        code, f"{where}: {failure}." + (f" {_free(where)} bytes are free there." if code == "disk-full" else "")
    )


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
    code = _S3.get(word) or _STATUS.get(status) or _status_class(status)
    if code == "server-error" and wait is not None:
        code = "throttled"
    return error(code, f"{where}: HTTP {status}{f' {word}' if word else ''}.", retry_after=wait)


def _status_class(status: int) -> str:
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


# --- Alyx ---------------------------------------------------------------------------------------------
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
    said = _alyx_json(content_type, body)
    code = _alyx_page_code(status, content_type) if said is None else _alyx_json_code(status, said)
    words = _page_words(content_type, body) if said is None else _json_words(said)
    who = (
        f" ({login})" if login and code in ("alyx-login", "alyx-token", "alyx-no-credentials", "alyx-forbidden") else ""
    )
    return error(code, f"{_shortened(request)}: {status}, {words}{who}.", retry_after=retry_after)


def _alyx_json(content_type: str, body: str) -> Any:
    """The answer's content, or None where it is no JSON."""
    if "json" not in content_type:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None


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
        return _shortened(json.dumps(said))
    if detail := said.get("detail"):
        return _shortened(str(detail))
    fields = {name: value for name, value in said.items() if name != "status_code"}
    return _shortened("; ".join(f"{name}: {_listed(value)}" for name, value in fields.items()))


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _page_words(content_type: str, body: str) -> str:
    kind = content_type.partition(";")[0].strip() or "nothing"
    if "json" in kind:
        return "JSON that breaks off or is malformed"
    title = _TITLE.search(body)
    return f'a web page titled "{_shortened(title[1])}"' if title else f"{kind} instead of JSON"


def _shortened(text: str, width: int = 300) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= width else f"{line[:width]}..."


def alyx_unreachable(failure: Exception, *, request: str = "") -> DownloadError:
    """Classify why no answer came: the network, a certificate, a proxy, or an address that is none."""
    causes = tuple(_causes(failure))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return error("alyx-certificate", f"{request}: {cause.verify_message}.")
    if isinstance(failure, requests_errors.ProxyError):
        return error("alyx-gateway", f"{request}: the proxy refuses.")  # its text may hold the proxy's password
    if isinstance(failure, requests_errors.InvalidURL | requests_errors.InvalidSchema):
        return error("alyx-url", f"{request} is no web address.")
    if type(failure) is OSError:  # what requests raises where REQUESTS_CA_BUNDLE names no file
        return error("alyx-certificate", f"{request}: {failure}.")
    return error("alyx-unreachable", f"{request}: {_why(failure, causes)}.")


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """The failure and all that it wraps, outermost first; requests and urllib3 hide the cause in several places."""
    cause: Any = failure
    seen: set[int] = set()
    while isinstance(cause, BaseException) and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        inner = [arg for arg in cause.args if isinstance(arg, BaseException)]
        cause = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__ or next(iter(inner), None)


def _why(failure: Exception, causes: tuple[BaseException, ...]) -> str:
    if isinstance(failure, requests_errors.Timeout | TimeoutError):
        return "it does not answer in time"
    reasons = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return reasons[-1] if reasons else "the connection broke off"


def params_error(failure: OSError | ValueError | TypeError) -> DownloadError:
    """Classify what goes wrong with ONE's params files; the failure's own message says which file and why."""
    if isinstance(failure, TimeoutError):
        return error("params-busy", str(failure))
    if isinstance(failure, OSError | JSONDecodeError):
        return error("params-file", str(failure))
    return error("bad-params", str(failure))
