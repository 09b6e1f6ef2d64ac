"""What Prefect runs and waits to run, and which limits that waits for, for the verb `status`; no server is started."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter
from prefect.client.schemas.objects import StateType, WorkPoolStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.filters import EventFilter
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

from flows.local_server import running_server
from tasks.clients.seams import Pace, bounded
from tasks.transfer.limits import WAITED, WAITING, known_limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.events import EventPage
    from prefect.client.schemas.objects import FlowRun, WorkPool
    from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
    from prefect.events.schemas.events import ReceivedEvent

    from tasks.model import Json

#: Flow runs that are named.
_MOST_FLOW_RUNS = 10
#: How long Prefect's API may take: it is a help here, and no more.
_PREFECT_SECONDS = 10.0
#: A page of Prefect's events is no longer.
_MOST_EVENTS = 50
_FLOWS = ["download", "mirror", "verify", "canary", "fleet"]
_UNDER_WAY = {"type": {"any_": ["RUNNING", "PENDING", "SCHEDULED", "PAUSED", "CANCELLING"]}}


class Wait(NamedTuple):
    """Something that a flow run waits for: what it is, and how many of its slots are taken; None where it has none."""

    what: str
    taken: int | None = None
    slots: int | None = None

    def words(self) -> str:
        """What a person reads."""
        return self.what if self.slots is None else f"{self.what}: {self.taken} of {self.slots} slots are taken"


class FlowRunSeen(NamedTuple):
    """A flow run that has not ended, as Prefect knows it."""

    name: str
    state: str
    since: datetime | None
    waits_for: tuple[Wait, ...] = ()

    def row(self) -> Json:
        """Its JSON."""
        since = self.since.isoformat() if self.since else None
        return {**self._asdict(), "since": since, "waits_for": [wait._asdict() for wait in self.waits_for]}


def under_way() -> tuple[list[FlowRunSeen] | None, str]:
    """What Prefect runs and waits to run; None where no API is known or it does not answer, and then why."""
    local = None if get_current_settings().api.url else running_server()
    url = str(get_current_settings().api.url or (local.url if local else ""))
    if not url:
        return None, ""
    try:
        return bounded(partial(_ask, url), Pace(), _PREFECT_SECONDS), ""
    except (httpx.HTTPError, TimeoutError):
        return None, "its API does not answer now; what stands here is from the ledger."


def _ask(url: str) -> list[FlowRunSeen]:
    with temporary_settings(updates={PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        found = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=_FLOWS)),
            flow_run_filter=FlowRunFilter.model_validate({"state": _UNDER_WAY}),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=_MOST_FLOW_RUNS,
        )
        return [_seen(client, run) for run in found]


def _seen(client: SyncPrefectClient, run: FlowRun) -> FlowRunSeen:
    since = run.start_time or run.expected_start_time
    return FlowRunSeen(run.name, run.state_name or "", since, tuple(_waits(client, run)))


def _waits(client: SyncPrefectClient, run: FlowRun) -> Iterator[Wait]:
    """What a flow run waits for; nothing where it does not wait."""
    if run.state_type == StateType.RUNNING:
        limits = known_limits(client)
        yield from (_wait(name, limits[name]) for name in sorted(_waited_for(client, run)) if name in limits)
    elif run.state_name == "AwaitingConcurrencySlot" and run.deployment_id:
        deployment = client.read_deployment(run.deployment_id)
        if deployment.global_concurrency_limit:
            yield _wait(f"deployment {deployment.name}", deployment.global_concurrency_limit)
    elif run.state_name == "Late" and run.work_pool_name:
        yield from _of_pool(client.read_work_pool(run.work_pool_name))


def _wait(what: str, limit: GlobalConcurrencyLimitResponse) -> Wait:
    return Wait(what, limit.active_slots, limit.limit)


def _waited_for(client: SyncPrefectClient, run: FlowRun) -> set[str]:
    """Names of the limits that its batches have said they wait for, and not yet that they have them."""
    ended, names = set(), set()
    for event in _told(client, run):  # the newest first: an end comes before its beginning
        wait = event.payload.get("wait")
        if event.event == WAITED:
            ended.add(wait)
        elif wait not in ended:
            names.update(event.payload["limits"])
    return names


def _told(client: SyncPrefectClient, run: FlowRun) -> Iterator[ReceivedEvent]:
    """What its batches told of their waits in this attempt: one before it may have been killed while it waited."""
    wanted = {"event": {"name": [WAITING, WAITED]}, "any_resource": {"id": [f"prefect.flow-run.{run.id}"]}}
    since = {"occurred": {"since": run.state.timestamp}} if run.state else {}
    page: EventPage | None = client.read_events(EventFilter.model_validate(wanted | since), _MOST_EVENTS)
    while page:
        yield from page.events
        page = page.get_next_page_sync(client)


def _of_pool(pool: WorkPool) -> Iterator[Wait]:
    """What keeps a work pool from beginning a run that is due."""
    if pool.is_paused:
        yield Wait(f"work pool {pool.name}, which is paused")
    elif pool.status == WorkPoolStatus.NOT_READY:
        yield Wait(f"a worker: `prefect worker start --pool {pool.name}`")
    elif pool.concurrency_limit is not None and (pool.active_slots or 0) >= pool.concurrency_limit:
        yield Wait(f"work pool {pool.name}", pool.active_slots, pool.concurrency_limit)
