"""Submitting: a submission id first, then the transfer document, as often as one likes."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

from deployments.sandbox.globus.clock import from_iso
from deployments.sandbox.globus.errors import TransferError, request_id

if TYPE_CHECKING:
    from deployments.sandbox.globus.store import Json
    from deployments.sandbox.globus.web import Call

PENDING_AT_MOST = 100
LABEL_AT_MOST = 128
ACCEPTED = "The transfer has been accepted and a task has been created and queued for execution"
DUPLICATE = "This transfer has already been submitted, and the task was created"


def get_submission_id(call: Call) -> Json:
    """A new submission id."""
    value = str(uuid.uuid4())
    call.service.table.remember(value, None)
    call.service.table.commit()
    return {"DATA_TYPE": "submission_id", "value": value}


def submit_transfer(call: Call) -> JSONResponse:
    """Queue a task, once for each submission id."""
    request = call.json()
    items = request.pop("DATA", None)
    if not items:
        raise TransferError(400, "ClientError.BadRequest.NoTransferItems", "A transfer requires at least one item")
    submission = str(request.get("submission_id"))
    known = call.service.table.submissions.get(submission)
    if known:
        return JSONResponse(_result(call, "Duplicate", DUPLICATE, submission, known), 200)
    _check(call, request, items)
    deadline = request.get("deadline")
    task = call.service.table.create(request, items, now=call.now, deadline=from_iso(deadline) if deadline else None)
    call.service.table.commit()
    call.service.engine.kick()
    return JSONResponse(_result(call, "Accepted", ACCEPTED, submission, task.id), 202)


def _result(call: Call, code: str, message: str, submission: str, task: str) -> Json:
    return {
        "DATA_TYPE": "transfer_result",
        "code": code,
        "message": message,
        "request_id": request_id(),
        "resource": call.resource,
        "submission_id": submission,
        "task_id": task,
        "task_link": {
            "DATA_TYPE": "link",
            "href": f"/v0.10/task/{task}?format=json",
            "rel": "related",
            "resource": "task",
            "title": "related task",
        },
    }


def _check(call: Call, request: Json, items: list[Json]) -> None:
    label = request.get("label") or ""
    if len(label) > LABEL_AT_MOST or label != label.strip() or "\n" in label or "\r" in label:
        raise TransferError(
            400, "BadRequest", "Invalid label: at most 128 characters, no newline, no blank at the ends"
        )
    if request.get("delete_destination_extra") or request.get("filter_rules"):
        raise TransferError(400, "NotSupported", "The sandbox neither deletes nor filters")
    for item in items:
        if not item.get("source_path") or not item.get("destination_path"):
            raise TransferError(400, "BadRequest", "Each item needs a source_path and a destination_path")
    _check_endpoints(call, request)
    if len(call.service.table.active()) >= PENDING_AT_MOST:
        raise TransferError(409, "TooManyPendingJobs", f"You already have {PENDING_AT_MOST} pending tasks")


def _check_endpoints(call: Call, request: Json) -> None:
    sides = [call.service.endpoints.get(str(request.get(f"{side}_endpoint"))) for side in ("source", "destination")]
    if all(endpoint.personal and not endpoint.subscription_id for endpoint in sides):
        raise TransferError(
            403, "PermissionDenied", "Transfers between two Globus Connect Personal endpoints need a subscription"
        )
    for endpoint in sides:
        require_consent(call, endpoint.consent)


def require_consent(call: Call, scope: str | None) -> None:
    """Raise the service's ConsentRequired unless whoever calls has consented to the scope."""
    record = call.service.tokens.check(call.bearer or "") or {"client": ""}
    if scope and not call.service.tokens.consented(record["client"], scope):
        required = f"urn:globus:auth:scope:transfer.api.globus.org:all[*{scope}]"
        raise TransferError(403, "ConsentRequired", "Missing required data_access consent", required_scopes=[required])
