"""One question to Globus through the SDK: bounded in time, left behind at a stop, its errors with a verdict.

The SDK's own retries are off: they sleep where nobody can stop them, and would multiply with ours.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

import globus_sdk
import requests
from globus_sdk.transport import RequestsTransport, RetryConfig

from tasks.clients.authorities import trusted_authorities
from tasks.clients.seams import Pace, bounded
from tasks.clients.verdicts import DownloadError, error, globus_api, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

#: Longest silence of the service in the middle of an answer, and longest time of one call, redirects and all.
HTTP_SECONDS = 30.0
CALL_SECONDS = 60.0


def no_retries() -> RetryConfig:
    """The SDK's retries, switched off."""
    return RetryConfig(max_retries=0)


#: The SDK warns of every request that fails, without a word of which or why; whoever asked tells that.
logging.getLogger("globus_sdk.transport.requests").addFilter(lambda record: record.levelno != logging.WARNING)


def transport() -> RequestsTransport:
    """A transport that does not wait for ever, and trusts whom all others here trust."""
    return RequestsTransport(http_timeout=HTTP_SECONDS, verify_ssl=trusted_authorities())


class Lingering(Pace):
    """A pace that sees a stop some seconds late: for calls without which a task would be left to itself.

    Args:
        pace: Whose stop.
        seconds: How much later.
    """

    def __init__(self, pace: Pace, seconds: float) -> None:
        super().__init__(pace.stop)
        self._seconds = seconds
        self._seen: float | None = None

    def check(self) -> None:
        """Raise the `stopped` error, when the run was asked to stop a while ago."""
        if self._seen is None and self.stop.is_set():
            self._seen = time.monotonic()
        if self._seen is not None and time.monotonic() - self._seen > self._seconds:
            super().check()


def answer_of(what: str, call: Callable[[], T], pace: Pace) -> T:
    """Make one call to Globus; it is left behind when the run is stopped, or when it takes too long.

    Args:
        what: What is asked for, for the human.
        call: Uses the SDK.
        pace: Clock and stop signal.

    Raises:
        DownloadError: the verdict on what the SDK raises; `connect-timeout`; `stopped`.
    """
    pace.check()
    try:
        return bounded(call, pace, CALL_SECONDS)
    except TimeoutError as failure:
        raise error("connect-timeout", f"Globus, {what}: no answer within {CALL_SECONDS:.0f} s.") from failure
    except globus_sdk.GlobusError as failure:
        # Not `from failure`: frames below hold tokens, and a report of a crash shows frames.
        raise verdict_on(failure, what, pace.now()) from None
    except (KeyError, TypeError, ValueError):  # the SDK reads some answers without a look at their form
        raise error("protocol", f"Globus, {what}: its answer is not of the form that it should have.") from None


def verdict_on(failure: globus_sdk.GlobusError, what: str, now: float) -> DownloadError:
    """The verdict on whatever the SDK raises.

    Args:
        failure: What it raised.
        what: What was asked for, for the human.
        now: Seconds since the epoch, to read `Retry-After` dates against.
    """
    if isinstance(failure, globus_sdk.GlobusAPIError):
        wait = retry_after(failure.headers.get("Retry-After", ""), now)
        return globus_api(failure.http_status, _code(failure), f"{what}: {_said(failure)}", wait=wait)
    if isinstance(failure, globus_sdk.NetworkError):
        if isinstance(failure.underlying_exception, requests.exceptions.SSLError):
            return error("tls", f"{what}: {failure}.")
        slow = isinstance(failure, globus_sdk.GlobusTimeoutError)
        return error("connect-timeout" if slow else "connect", f"Globus, {what}: {failure}.")
    return error("protocol", f"Globus, {what}: {failure}.")


def _code(failure: globus_sdk.GlobusAPIError) -> str:
    """The error's code; one that asks for a consent or for a fresh login says so in more ways than one."""
    if _scopes(failure):
        return "ConsentRequired"
    if failure.info.authorization_parameters:
        return "LoginFailed"
    document = failure.raw_json if isinstance(failure.raw_json, dict) else {}
    return failure.code or str(document.get("error") or "")


def _scopes(failure: globus_sdk.GlobusAPIError) -> list[str]:
    """The scopes that somebody has to consent to."""
    document = failure.raw_json if isinstance(failure.raw_json, dict) else {}
    asked = document.get("authorization_parameters") or {}
    found = failure.info.consent_required.required_scopes or asked.get("required_scopes") or []
    return [str(scope) for scope in found]


def _said(failure: globus_sdk.GlobusAPIError) -> str:
    """What Globus says, in one line: code, the message's first line, and which consent or login it wants."""
    wanted = failure.info.authorization_parameters
    parts = [f"HTTP {failure.http_status} {failure.code or _code(failure)}".strip()]
    parts += [(failure.message or "").partition("\n")[0], wanted.session_message or ""]
    parts += [*(wanted.session_required_single_domain or []), *_scopes(failure)]
    return ", ".join(part.rstrip(".") for part in parts if part) + "."
