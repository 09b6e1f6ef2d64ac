"""The calls of Globus Transfer that a transfer needs: each patient, each of its errors with a verdict.

The SDK's own retries are off: they sleep where nobody can stop them, and would multiply with ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import globus_sdk
import requests
from globus_sdk.transport import RequestsTransport, RetryConfig

from tasks.clients.authorities import trusted_authorities
from tasks.clients.globus.batches import LABEL
from tasks.clients.verdicts import DownloadError, Verdict, error, globus_api, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tasks.clients.seams import Pace

T = TypeVar("T")
Json = dict[str, Any]

#: Longest silence of the service; a stop must not wait longer, and every call may be made again.
HTTP_SECONDS = 8.0


def no_retries() -> RetryConfig:
    """The SDK's retries, switched off."""
    return RetryConfig(max_retries=0)


def transport() -> RequestsTransport:
    """A transport that does not wait for ever, and trusts whom all others here trust."""
    return RequestsTransport(http_timeout=HTTP_SECONDS, verify_ssl=trusted_authorities())


def is_mapped(endpoint: Mapping[str, Any]) -> bool:
    """Whether a collection asks for a consent before its data moves, as mapped ones below high assurance do."""
    return endpoint.get("entity_type") == "GCSv5_mapped_collection" and not endpoint.get("high_assurance")


class GlobusService:
    """Globus Transfer as one identity sees it.

    Args:
        client: Logged in; made with :func:`no_retries` and :func:`transport`.
        pace: Clock, dice and stop signal.
        attempts: How often a call is made, where the service is in trouble.
        consent: Consents to moving a collection's data, where the identity may do so by itself (a service account).
    """

    def __init__(
        self,
        client: globus_sdk.TransferClient,
        pace: Pace,
        *,
        attempts: int = 5,
        consent: Callable[[str], object] | None = None,
    ) -> None:
        self._client = client
        self._pace = pace
        self._attempts = attempts
        self._consent = consent

    def endpoint(self, endpoint_id: str) -> Json:
        """The document of an endpoint; gives the consent that its data needs, if this identity can."""
        what = f"endpoint {endpoint_id}"
        document = self._document(what, lambda: self._client.get_endpoint(endpoint_id))
        consent = self._consent
        if consent and is_mapped(document):
            self._ask(what, lambda: consent(endpoint_id))
        return document

    def submission_id(self) -> str:
        """A fresh submission id."""
        return str(self._document("submission id", self._client.get_submission_id)["value"])

    def submit(self, document: Json) -> str:
        """Submit a transfer document; the task of its submission id, however often it is submitted."""
        what = f"transfer from {document['source_endpoint']} to {document['destination_endpoint']}"
        return str(self._document(what, lambda: self._client.submit_transfer(document))["task_id"])

    def task(self, task_id: str) -> Json:
        """The document of a task; asked once, since whoever watches it asks again anyway."""
        return self._once(f"task {task_id}", lambda: _data(self._client.get_task(task_id)))

    def error_events(self, task_id: str) -> list[Json]:
        """The latest events that tell of trouble, newest first."""
        wanted = {"filter": "is_error:1"}
        found = self._document(
            f"events of task {task_id}", lambda: self._client.task_event_list(task_id, limit=100, query_params=wanted)
        )
        return list(found["DATA"])

    def successful(self, task_id: str) -> list[Json]:
        """One row for each file that was moved; those that were there already are not among them."""
        listing = self._client.paginated.task_successful_transfers
        return self._ask(f"files of task {task_id}", lambda: list(listing(task_id).items()))

    def skipped(self, task_id: str) -> list[Json]:
        """One row for each path that was stepped over."""
        listing = self._client.paginated.task_skipped_errors
        return self._ask(f"skipped files of task {task_id}", lambda: list(listing(task_id).items()))

    def pause_message(self, task_id: str) -> str:
        """What an administrator has to say about a paused task."""
        found = self._document(f"pause of task {task_id}", lambda: self._client.task_pause_info(task_id))
        rules = [str(rule.get("message") or "") for rule in found.get("pause_rules") or []]
        sides = [str(found.get(f"{side}_pause_message") or "") for side in ("source", "destination")]
        return " ".join(text for text in (*sides, *rules) if text)

    def cancel(self, task_id: str) -> bool:
        """Cancel a task, in one request; whether that has ended it (it may have ended by itself before)."""
        found = self._once(f"task {task_id}", lambda: _data(self._client.cancel_task(task_id)))
        return bool(found.get("code") == "Canceled")

    def active_tasks(self) -> dict[str, str]:
        """Tasks of ours that have not ended, by label."""
        listing = self._client.paginated.task_list
        wanted = {"status": "ACTIVE", "type": "TRANSFER"}
        rows = self._ask("active tasks", lambda: list(listing(filter=wanted).items()))
        return {row["label"]: row["task_id"] for row in rows if str(row.get("label")).startswith(LABEL)}

    def _document(self, what: str, call: Callable[[], Any]) -> Json:
        return self._ask(what, lambda: _data(call()))

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        """Call until it is answered; wait in between, and stop when asked to."""
        for attempt in range(1, self._attempts + 1):
            try:
                return self._once(what, call)
            except DownloadError as failure:
                if failure.verdict is not Verdict.RETRY or attempt == self._attempts:
                    raise
                self._pace.wait(failure.retry_after or self._pace.backoff(attempt))
        raise AssertionError  # the last attempt returns or raises

    def _once(self, what: str, call: Callable[[], T]) -> T:
        """Call, and once more when the token was refused: the SDK has thrown it away, and gets another."""
        try:
            try:
                return call()
            except globus_sdk.TransferAPIError as refusal:
                if refusal.http_status != requests.codes.unauthorized:
                    raise
                return call()
        except globus_sdk.GlobusError as failure:
            raise verdict_on(failure, what, self._pace.now()) from failure


def _data(response: globus_sdk.GlobusHTTPResponse) -> Json:
    if not isinstance(response.data, dict):
        raise error("protocol", "Globus answers with something that is no JSON document.")
    return response.data


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
