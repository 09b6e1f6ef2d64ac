"""Every error, its verdict, and the next step for a human.

One table, `RULES`, says what each error means; the functions below it only find the row. Nothing
else in the project matches the text of an error. A test goes through the table row by row, and
the error catalogue in the documentation is generated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from json import JSONDecodeError


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
        "NEXT_SOURCE",
        "SOURCE",
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
        "NEXT_SOURCE",
        "SOURCE",
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


def params_error(failure: OSError | ValueError | TypeError) -> DownloadError:
    """Classify what goes wrong with ONE's params files; the failure's own message says which file and why."""
    if isinstance(failure, TimeoutError):
        return error("params-busy", str(failure))
    if isinstance(failure, OSError | JSONDecodeError):
        return error("params-file", str(failure))
    return error("bad-params", str(failure))
