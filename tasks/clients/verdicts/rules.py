"""The table: every error, its verdict, and the next step for a human.

A test goes through it row by row, and the error catalogue in the documentation is generated from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tasks.clients.verdicts.words import printable


class Verdict(StrEnum):
    """What an error means for what happens next."""

    RETRY = "RETRY"  # transient: the same source may answer in a moment
    NEXT_SOURCE = "NEXT_SOURCE"  # permanent at this source: ask the next one, and this one not again
    SKIP_FILE = "SKIP_FILE"  # nowhere: this file cannot be had, the run goes on
    STOP_RUN = "STOP_RUN"  # nothing else will work either: stop at once

    @property
    def meaning(self) -> str:
        """What happens next, for a human."""
        return _MEANING[self]


_MEANING = {
    Verdict.RETRY: "It may mend by itself: the same source is asked again, after a wait.",
    Verdict.NEXT_SOURCE: "Not from this source: the file's next one is asked, and this one not again.",
    Verdict.SKIP_FILE: "This file cannot be had now; the run goes on with all others.",
    Verdict.STOP_RUN: "Nothing else would work either: the run stops at once, and keeps what it has.",
}


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
    "address-refused": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The address leads to a place that no file server has.",
        "Correct the repository in Alyx; if it is right, name the host in PREFECT_INTEGRATIONS_ALYX_ALLOW_HOSTS.",
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
        "The server refuses the credentials.",
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
        "The server sent something else instead of the data.",
        "Open the address in a browser: a login page or an error page may be in the way.",
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
        "Mend what the message names (its owner, its mode, its content), or run `prefect-alyx setup`.",
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
        "STOP_RUN",
        "RUN",
        "The place cannot be written.",
        "Check the owner and the mode of what the message names, and its mount.",
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
    "no-tree": _row(
        "STOP_RUN",
        "RUN",
        "Nothing was downloaded there yet.",
        "Check `--root`, and that its drive is mounted; `prefect-alyx fetch` and `sync` begin a tree.",
    ),
    "not-ours": _row(
        "STOP_RUN",
        "RUN",
        "What lies under the root as .prefect-alyx is not this user's own.",
        "Find out who put it there, then move it away; or run as its owner, or choose another root.",
    ),
    "settings": _row(
        "STOP_RUN",
        "RUN",
        "A setting cannot be used.",
        "Correct it in the environment or in prefect.toml; the documentation lists all settings.",
    ),
    "run-died": _row(
        "RETRY",
        "RUN",
        "The run died before it could conclude.",
        "Look at the flow run in Prefect's UI, then run again: it resumes.",
    ),
    "deploy-file": _row(
        "SKIP_FILE",
        "FILE",
        "A file of the deployments cannot be used.",
        "Correct what the message names; nothing was sent to the server.",
    ),
    "prefect-refused": _row(
        "STOP_RUN",
        "RUN",
        "The Prefect server refuses what it is sent.",
        "Check that PREFECT_API_URL is a Prefect server of this version, and that its login is set.",
    ),
    "prefect-server": _row(
        "RETRY",
        "RUN",
        "The local Prefect server does not come up.",
        "Look into the log, or set PREFECT_API_URL to a server that runs.",
    ),
    "damaged": _row(
        "RETRY",
        "FILE",
        "The file on disk is not what it was proven to be.",
        "Nothing to do: the bytes are in quarantine, the next run fetches it anew. If more follow, check the disk.",
    ),
    "prefect-api": _row(
        "RETRY",
        "RUN",
        "The Prefect API cannot be used.",
        "Start that server, or correct PREFECT_API_URL (it ends in /api); without it, a local server is started.",
    ),
    "prefect-login": _row(
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
    "ledger-away": _row(
        "RETRY",
        "RUN",
        "The ledger's database does not answer.",
        "Check that it runs, and that this machine may reach it; the next run goes on where this one stopped.",
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
    # --- Globus -------------------------------------------------------------------------------------
    "globus-login": _row(
        "STOP_RUN",
        "RUN",
        "Globus refuses the login.",
        "Log in again with `prefect-alyx setup globus` at a terminal; "
        "on a server, correct GLOBUS_CLIENT_ID and GLOBUS_CLIENT_SECRET.",
    ),
    "globus-consent": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The Globus collection asks for a consent that nobody has given.",
        "Run `prefect-alyx setup globus` at a terminal, and name the collection "
        "where it asks which ones need a consent.",
    ),
    "globus-session": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The Globus collection asks for a fresh login with an identity of its institution.",
        "Run `prefect-alyx setup globus` at a terminal, and log in with the identity that the message names.",
    ),
    "globus-forbidden": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "Globus forbids this path or this collection.",
        "Ask the collection's administrator to let this identity read it.",
    ),
    "globus-no-endpoint": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "Globus knows no such endpoint.",
        "Correct the repository's globus_endpoint_id in Alyx, or local_endpoint with `prefect-alyx setup globus`.",
    ),
    "globus-offline": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "A personal Globus endpoint is not connected.",
        "Start Globus Connect Personal on that computer, then run again.",
    ),
    "globus-gc-paused": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "Globus Connect Personal is paused at one of the two ends.",
        "Unpause it in its menu on that computer, then run again.",
    ),
    "globus-paused": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "An administrator has paused the Globus transfer.",
        "Ask the collection's administrator when it will be resumed, then run again.",
    ),
    "globus-inactive": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "Globus has suspended the transfer, because its credentials have expired.",
        "Log in again with `prefect-alyx setup globus` at a terminal, then run again.",
    ),
    "globus-quota": _row(
        "STOP_RUN",
        "RUN",
        "The disk that the local Globus endpoint writes to is full, or its quota is used up.",
        "Free some space and run again: what has been moved is kept.",
    ),
    "globus-quota-file": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "There is no room for this file where the local Globus endpoint writes.",
        "Free some space or raise the quota, then run again.",
    ),
    "globus-destination": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The local Globus endpoint may not write where the files are to be received.",
        "Make the root writable in Globus Connect Personal's preferences (Access), or correct local_path.",
    ),
    "globus-invisible": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "Globus says that the file has arrived, but it is not on this machine.",
        "Correct local_endpoint and local_path with `prefect-alyx setup globus`: "
        "the endpoint shows another directory than the root.",
    ),
    "globus-stalled": _row(
        "RETRY",
        "SOURCE",
        "The Globus transfer made no progress for too long and was cancelled.",
        "Run again; if it stays, look at the task in the Globus web app, or tell the collection's administrator.",
    ),
    "globus-deadline": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "The Globus transfer did not end before its deadline.",
        "Run again: what has been moved is kept.",
    ),
    "globus-cancelled": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "Somebody cancelled the Globus transfer.",
        "Ask who cancelled it in the Globus web app, then run again.",
    ),
    "globus-checksum": _row(
        "RETRY",
        "SOURCE",
        "The file changed on its way, as Globus found out.",
        "Nothing to do now: it is moved again; if it stays, look at the disks of both ends.",
    ),
    "globus-endpoint": _row(
        "RETRY",
        "SOURCE",
        "One of the two Globus endpoints is in trouble.",
        "Run again later; tell the collection's administrator if it stays.",
    ),
    "globus-busy": _row(
        "RETRY",
        "RUN",
        "Too many Globus transfers of this identity are waiting.",
        "Wait until some have ended, or cancel those that nobody needs in the Globus web app.",
    ),
    "globus-left": _row(
        "RETRY",
        "SOURCE",
        "The Globus transfer has ended without this file.",
        "Run again; if it stays, look at the task's event log in the Globus web app.",
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
    "tables": _row(
        "STOP_RUN",
        "RUN",
        "ONE's cache tables cannot be used.",
        "Set PREFECT_INTEGRATIONS_ALYX_CATALOGUE to rest; whoever runs Alyx makes the tables (`one_cache`).",
    ),
    "tables-bomb": _row(
        "STOP_RUN",
        "RUN",
        "ONE's cache tables would take far more room than they need.",
        "Nothing was taken from them; tell whoever runs Alyx. PREFECT_INTEGRATIONS_ALYX_CATALOGUE=rest does without.",
    ),
    "other-tables": _row(
        "STOP_RUN",
        "RUN",
        "Cache tables that something else made lie there already.",
        "Give another directory with --to: ONE reads it as `One(cache_dir=..., tables_dir=...)`.",
    ),
    # --- kachery ----------------------------------------------------------------------------------
    "kachery-gateway": _row(
        "NEXT_SOURCE",
        "SOURCE",
        "What answers is not a kachery gateway.",
        "Check base_url and gateway_url (`prefect-alyx setup kachery`); docs/kachery.md tells the service's future.",
    ),
    # --- what the user asks for -------------------------------------------------------------------
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
    reason = printable(f"{rule.meaning} {detail}".strip())
    return DownloadError(rule.verdict, reason, rule.next_step, code=code, retry_after=retry_after)
