"""Move one small file over every route, so that a broken one is known before it is needed."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State as PrefectState
from prefect.events import emit_event
from prefect.states import Completed, Failed

from tasks.alyx import AlyxClient
from tasks.blocks import use_blocks
from tasks.catalogue import repositories
from tasks.clients import DownloadError, Verdict, WireOptions
from tasks.clients.seams import Pace
from tasks.keeping.probing import Cost, Route, probe, routes
from tasks.model import Json
from tasks.preparing import find_root
from tasks.settings import AlyxSettings
from tasks.wording import canary_line, human_bytes


@flow(name="canary", flow_run_name="canary: one small file over every route", persist_result=False)
def canary(root: Path | None = None) -> PrefectState[list[Cost]]:
    """Move one small file over every route, that is every protocol of every repository, and say what each one costs.

    Args:
        root: Where there is room for the file for a moment; by default the setting, then ONE's cache directory.
    """
    settings = AlyxSettings.read()
    use_blocks(settings)
    alyx = AlyxClient()
    place, records = find_root(root, settings, alyx), repositories(alyx)
    costs = [try_route(route, records[route.repository], place, route.label) for route in routes(alyx)]
    create_table_artifact([_row(cost) for cost in costs], key="alyx-routes", description=canary_line(costs))
    get_run_logger().info(canary_line(costs))
    broken = [cost for cost in costs if cost.state == "broken"]
    if not broken:
        return Completed(message=canary_line(costs), data=costs)
    first = broken[0]
    message = f"{canary_line(costs)} {first.protocol} {first.repository}: {first.reason} {first.next_step}"
    return Failed(message=message, data=DownloadError(Verdict.RETRY, message))


@task(name="route", task_run_name="{label}", persist_result=False, cache_policy=NO_CACHE)
def try_route(route: Route, repository: Json, root: Path, label: str) -> Cost:
    """Try one route, and emit what it cost as an event."""
    settings = AlyxSettings.read()
    options = WireOptions(
        settings.attempts, settings.connect_seconds, settings.stall_seconds, allow_hosts=settings.allow_hosts
    )
    cost = probe(route, repository, root, options, Pace())
    emit_event(
        f"alyx.route.{cost.state}",
        resource={
            "prefect.resource.id": f"alyx.route.{cost.protocol}.{cost.repository}",
            "prefect.resource.name": label,
        },
        payload=cost.to_json(),
    )
    return cost


def _row(cost: Cost) -> Json:
    """A row of the table that people see."""
    speed = f"{human_bytes(cost.bytes / cost.seconds)}/s" if cost.bytes and cost.seconds else ""
    return {**cost.to_json(), "speed": speed}
