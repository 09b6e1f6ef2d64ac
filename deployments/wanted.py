"""The deployments of prefect.yaml as Prefect's own objects, and whether the server has them already."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType
from prefect.utilities.templating import resolve_variables

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

    from deployments.lines import Lined
    from tasks.model import Json


def wanted(lined: Lined) -> list[RunnerDeployment]:
    """Make the deployments of a checked prefect.yaml, with the variables of the server filled in."""
    rows: list[Json] = asyncio.run(resolve_variables(lined.data["deployments"]))
    return [_deployment(row) for row in rows]


def _deployment(row: Json) -> RunnerDeployment:
    pool, limit = row["work_pool"], row.get("concurrency_limit")
    deployment: RunnerDeployment = RunnerDeployment.from_flow(
        load_flow_from_entrypoint(row["entrypoint"]),
        name=row["name"],
        schedules=[Schedule(**schedule) for schedule in row.get("schedules") or ()],
        concurrency_limit=ConcurrencyLimitConfig(**limit) if isinstance(limit, dict) else limit,
        parameters=row.get("parameters") or {},
        description=" ".join((row.get("description") or "").split()) or None,
        tags=row.get("tags"),
        work_pool_name=pool["name"],
        work_queue_name=pool.get("work_queue_name"),
        job_variables=pool.get("job_variables") or {},
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    return deployment


def same(deployment: RunnerDeployment, found: DeploymentResponse) -> bool:
    """Whether the server has a deployment as it is wanted; a schedule or run that a person paused stays so."""
    ours, theirs = _substance(deployment), _substance(found)
    limit = found.global_concurrency_limit.limit if found.global_concurrency_limit else None
    return ours == theirs and deployment.concurrency_limit == limit and _schema(deployment) == _schema(found)


def _substance(deployment: RunnerDeployment | DeploymentResponse) -> Json:
    names = ("entrypoint", "parameters", "description", "work_pool_name", "job_variables")
    options = deployment.concurrency_options
    return {
        **{name: getattr(deployment, name) for name in names},
        "tags": sorted(deployment.tags),
        "strategy": options and options.collision_strategy,
        "schedules": sorted(map(_schedule, deployment.schedules or ()), key=str),
    }


def _schedule(one: Any) -> tuple[Any, ...]:
    return (one.slug, one.parameters, one.schedule.model_dump(include={"cron", "interval", "rrule", "timezone"}))


def _schema(deployment: RunnerDeployment | DeploymentResponse) -> Any:
    if isinstance(deployment, RunnerDeployment):
        return deployment._parameter_openapi_schema.model_dump(exclude_unset=True)  # noqa: SLF001  (it has no other name)
    return deployment.parameter_openapi_schema
