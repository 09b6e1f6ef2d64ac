"""The calls of Globus Transfer that a transfer needs, each of them patient."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import globus_sdk
import requests

from tasks.clients.globus.asking import Lingering, answer_of
from tasks.clients.globus.batches import LABEL
from tasks.clients.verdicts import DownloadError, Verdict, error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tasks.clients.seams import Pace

T = TypeVar("T")
Json = dict[str, Any]

#: Calls that may follow each other at once, before the rate of one a second counts.
_BURST = 10
#: A stop may take ten seconds. What is being submitted gets a moment to be known, and then one to be cancelled.
_SUBMIT_SECONDS = 2.5
_CANCEL_SECONDS = 2.5


def is_mapped(endpoint: Mapping[str, Any]) -> bool:
    """Whether a collection asks for a consent before its data moves, as mapped ones below high assurance do."""
    return endpoint.get("entity_type") == "GCSv5_mapped_collection" and not endpoint.get("high_assurance")


class GlobusService:
    """Globus Transfer as one identity sees it.

    Args:
        client: Logged in; made with what `asking` has for it.
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
        self._turn = pace.monotonic() - _BURST

    def endpoint(self, endpoint_id: str) -> Json:
        """The document of an endpoint; gives the consent that its data needs, if this identity can."""
        what = f"endpoint {endpoint_id}"
        document = self._document(what, lambda: self._client.get_endpoint(endpoint_id))
        consent = self._consent
        if consent and is_mapped(document):
            self._ask(what, lambda: consent(endpoint_id))
        return document

    def entries(self, endpoint_id: str, path: str) -> list[Json]:
        """What lies in a directory; the consent that this needs is given as for :meth:`endpoint`."""
        what = f"{path} of endpoint {endpoint_id}"
        return _data_of(self._document(what, lambda: self._client.operation_ls(endpoint_id, path=path)))

    def submission_id(self) -> str:
        """A fresh submission id."""
        return _uuid(self._document("submission id", self._client.get_submission_id).get("value"))

    def submit(self, document: Json) -> str:
        """Submit a transfer document; the task of its submission id, however often it is submitted."""
        what = f"transfer from {document['source_endpoint']} to {document['destination_endpoint']}"
        lingering = Lingering(self._pace, _SUBMIT_SECONDS)
        return _uuid(self._document(what, lambda: self._client.submit_transfer(document), lingering).get("task_id"))

    def task(self, task_id: str) -> Json:
        """The document of a task; asked once, since whoever watches it asks again anyway."""
        return self._once(f"task {task_id}", lambda: _data(self._client.get_task(task_id)))

    def error_events(self, task_id: str) -> list[Json]:
        """The latest events that tell of trouble, newest first."""
        wanted = {"filter": "is_error:1"}
        found = self._document(
            f"events of task {task_id}", lambda: self._client.task_event_list(task_id, limit=100, query_params=wanted)
        )
        return _data_of(found)

    def successful(self, task_id: str) -> list[Json]:
        """One row for each file that was moved; those that were there already are not among them."""
        return self._rows(f"files of task {task_id}", partial(self._client.task_successful_transfers, task_id))

    def skipped(self, task_id: str) -> list[Json]:
        """One row for each path that was stepped over."""
        return self._rows(f"skipped files of task {task_id}", partial(self._client.task_skipped_errors, task_id))

    def pause_message(self, task_id: str) -> str:
        """What an administrator has to say about a paused task."""
        found = self._document(f"pause of task {task_id}", lambda: self._client.task_pause_info(task_id))
        rules = [str(rule.get("message") or "") for rule in found.get("pause_rules") or []]
        sides = [str(found.get(f"{side}_pause_message") or "") for side in ("source", "destination")]
        return " ".join(text for text in (*sides, *rules) if text)

    def cancel(self, task_id: str) -> bool:
        """Cancel a task, in one request; whether that has ended it (it may have ended by itself before)."""
        lingering = Lingering(self._pace, _CANCEL_SECONDS)
        found = self._once(f"task {task_id}", lambda: _data(self._client.cancel_task(task_id)), lingering)
        return bool(found.get("code") == "Canceled")

    def active_tasks(self) -> dict[str, str]:
        """Tasks of ours that have not ended, by label; a user has at most a hundred that wait."""
        wanted: dict[str, str | list[str]] = {"status": "ACTIVE", "type": "TRANSFER"}
        found = self._document("active tasks", lambda: self._client.task_list(limit=1000, filter=wanted))
        return {
            row["label"]: _uuid(row["task_id"]) for row in _data_of(found) if str(row.get("label")).startswith(LABEL)
        }

    def _rows(self, what: str, page: Callable[..., globus_sdk.GlobusHTTPResponse]) -> list[Json]:
        """All pages of a list, each asked for with patience."""
        rows: list[Json] = []
        following: Json = {}
        while True:
            found = self._document(what, partial(page, **following))
            rows += _data_of(found)
            if not found.get("next_marker"):
                return rows
            following = {"marker": found["next_marker"]}

    def _document(self, what: str, call: Callable[[], Any], pace: Pace | None = None) -> Json:
        return self._ask(what, lambda: _data(call()), pace)

    def _ask(self, what: str, call: Callable[[], T], pace: Pace | None = None) -> T:
        """Call until it is answered; wait in between, and stop when asked to."""
        for attempt in range(1, self._attempts + 1):
            try:
                return self._once(what, call, pace)
            except DownloadError as failure:
                if failure.verdict is not Verdict.RETRY or attempt == self._attempts:
                    raise
                self._pace.wait(failure.retry_after or self._pace.backoff(attempt))
        raise AssertionError  # the last attempt returns or raises

    def _once(self, what: str, call: Callable[[], T], pace: Pace | None = None) -> T:
        if pace is None:
            self._wait_for_turn()
        return answer_of(what, lambda: _with_a_fresh_token(call), pace or self._pace)

    def _wait_for_turn(self) -> None:
        """Keep to one call a second on average: Globus counts by user, and the user's other programs count too."""
        now = self._pace.monotonic()
        self._turn = max(self._turn, now - _BURST) + 1.0
        if self._turn > now:
            self._pace.wait(self._turn - now)


def _with_a_fresh_token(call: Callable[[], T]) -> T:
    """Call, and once more when the token was refused: the SDK has thrown it away, and gets another."""
    try:
        return call()
    except globus_sdk.TransferAPIError as refusal:
        if refusal.http_status != requests.codes.unauthorized:
            raise
        return call()


def _data_of(found: Json) -> list[Json]:
    """The rows of a list or of a page of one."""
    return [*(found.get("DATA") or [])]


def _uuid(value: object) -> str:
    """An id of Globus's: it becomes part of file names and of URLs.

    Raises:
        DownloadError: `protocol`, for anything else.
    """
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise error("protocol", f"Globus answers with the id {value!r}, which is no UUID.") from None


def _data(response: globus_sdk.GlobusHTTPResponse) -> Json:
    if not isinstance(response.data, dict):
        raise error("protocol", "Globus answers with something that is no JSON document.")
    return response.data
