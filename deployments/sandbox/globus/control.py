"""The control API, under `/_emu/`: what a test or a demo does to the emulator that no client could."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.sandbox.globus.errors import TransferError
from deployments.sandbox.globus.faults import HttpFault, PathFault
from deployments.sandbox.globus.table import DAY

if TYPE_CHECKING:
    from deployments.sandbox.globus.store import Json
    from deployments.sandbox.globus.tasks import Task
    from deployments.sandbox.globus.web import Call


def set_endpoint(call: Call) -> Json:
    """Add a collection or change it: `{"id", "root", "connected", "paused", ...}`, the fields of `Endpoint`."""
    endpoint = call.service.endpoints.set(call.json())
    call.service.engine.settle()
    return endpoint.document(call.base_url)


def add_fault(call: Call) -> Json:
    """Set a fault: `{"layer": "http"|"path", ...}` and the fields of `HttpFault` or `PathFault`."""
    fields = call.json()
    if fields.pop("layer") == "http":
        call.service.faults.http.append(HttpFault(**fields))
    else:
        call.service.faults.path.append(PathFault(**fields))
    return {}


def clear_faults(call: Call) -> Json:
    """Behave again; what stalled goes on."""
    call.service.faults.clear()
    for task in call.service.table.active():
        task.unhold()
    call.service.engine.settle()
    return {}


def read_log(call: Call) -> Json:
    """Every request since the last clearing, control requests left out."""
    return {"requests": [*call.service.log]}


def clear_log(call: Call) -> Json:
    """Forget the requests so far."""
    call.service.log.clear()
    return {}


def set_clock(call: Call) -> Json:
    """`{"freeze": true}`, `{"advance": seconds}`; answers when the engine has done what the time brought."""
    wishes = call.json()
    if wishes.get("freeze"):
        call.service.clock.freeze()
    call.service.engine.settle()  # what was due before comes before
    call.service.clock.advance(wishes.get("advance", 0.0))
    call.service.engine.settle()
    return {"now": call.now}


def set_pace(call: Call) -> Json:
    """`{"files": n}` lets n more files be finished, `{"bytes_per_second": n}`; null is no limit."""
    for name, value in call.json().items():
        if name == "retry_seconds":
            call.service.worker.retry_seconds = value
        else:
            setattr(call.service.pace, name, value)
    call.service.engine.settle()
    return {}


def set_tokens(call: Call) -> Json:
    """Clients, refresh and access tokens to know; `lifetime`, `refresh_reply`; `expire` and `revoke`."""
    wishes, tokens = call.json(), call.service.tokens
    for record in wishes.get("clients", []):
        tokens.add_client(**record)
    for record in wishes.get("refresh", []):
        tokens.add_refresh(**record)
    for record in wishes.get("access", []):
        tokens.add_access(**record)
    for token in wishes.get("revoke", []):
        tokens.revoke(token)
    if wishes.get("expire"):
        tokens.expire_all()
    tokens.lifetime = wishes.get("lifetime", tokens.lifetime)
    tokens.refresh_reply = wishes.get("refresh_reply", tokens.refresh_reply)
    return {}


def set_task(call: Call) -> Json:
    """`{"is_paused": true|false}`, `{"status": "INACTIVE"|"ACTIVE"}`: what an administrator or time does to a task."""
    task = call.service.table.tasks.get(call.parts["id"])
    if task is None:
        raise TransferError(404, "ClientError.NotFound", "No such task")
    wishes = call.json()
    if "is_paused" in wishes:
        _pause(call, task, paused=wishes["is_paused"])
    if "status" in wishes:
        _inactivate(call, task, wishes["status"])
    call.service.table.save(task)
    call.service.table.commit()
    call.service.engine.settle()
    return {}


def _pause(call: Call, task: Task, *, paused: bool) -> None:
    task.paused = paused
    task.deadline = call.now + (90 * DAY if paused else DAY)
    task.nice = task.nice_text = "PAUSED_BY_ADMIN" if paused else "OK"
    code = "PAUSED" if paused else "UNPAUSED"
    call.service.table.event(task, code, code.lower(), "By an administrator", now=call.now, is_error=paused)


def _inactivate(call: Call, task: Task, status: str) -> None:
    task.status = status
    task.nice = task.nice_text = "AUTH" if status == "INACTIVE" else "OK"
    if status == "INACTIVE":
        details = "The credentials of the task have expired"
        call.service.table.event(task, "AUTH", "credentials expired", details, now=call.now, is_error=True)


def settle(call: Call) -> Json:
    """Answer when the engine has nothing left to do now."""
    call.service.engine.settle()
    return {}
