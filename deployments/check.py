"""Checks prefect.yaml against the schema of the installed Prefect: what Prefect silently ignores is an error here.

Prefect reads that file with models that drop every key they do not know, so that a misplaced `concurrency_limit` means
no limit and nobody is told. The same models are walked here, and each key has to be one of theirs.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import PrefectException
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Schedule
from prefect.workers.process import ProcessVariables
from pydantic import ValidationError

from deployments.keys import keys_of, unknown
from deployments.lines import Lined
from tasks.hints import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from prefect.flows import Flow
    from pydantic import BaseModel

    from deployments.lines import Place
    from tasks.model import Json

for _model in (DeploymentConfig, PrefectYamlModel):
    _model.model_rebuild()  # the types of some fields are only names until then

#: What marks a value that Prefect fills in when it deploys.
_TEMPLATE = "{{"


def checked(path: Path) -> Lined:
    """Read a prefect.yaml that Prefect understands to the last key.

    Raises:
        DownloadError: `deploy-file`, with line and key of everything that is wrong.
    """
    lined = Lined.read(path)
    lined.refuse(list(unknown(lined, PrefectYamlModel, _ignored)) or _wrong_values(lined))
    lined.refuse([fault for place, one in _deployments(lined) for fault in _faults(lined, place, one)])
    return lined


def _deployments(lined: Lined) -> Iterator[tuple[Place, Json]]:
    for index, one in enumerate(lined.data.get("deployments") or ()):
        yield ("deployments", index), one


# --- keys ---------------------------------------------------------------------------------------------


def _ignored(key: str, known: Mapping[str, Any]) -> str:
    """Say that Prefect ignores a key, and where it belongs."""
    homes: dict[str, type[BaseModel]] = {
        "the top level": PrefectYamlModel,
        "a deployment": DeploymentConfig,
        "work_pool": WorkPoolConfig,
        "concurrency_limit": ConcurrencyLimitSpec,
        "a schedule": RawScheduleConfig,
        "work_pool.job_variables": ProcessVariables,
    }
    home = next((name for name, model in homes.items() if key in keys_of(model)), None)
    return f"Prefect ignores this key here{f': it belongs into {home}' if home else did_you_mean(key, known)}"


# --- values -------------------------------------------------------------------------------------------


def _wrong_values(lined: Lined) -> list[str]:
    try:
        PrefectYamlModel.model_validate(lined.data)
    except ValidationError as failure:
        return lined.faults_of(failure)
    return []


def _faults(lined: Lined, place: Place, one: Json) -> Iterator[str]:
    """What is wrong with one deployment that Prefect finds out when it deploys or runs, or never."""
    for needed in ("name", "entrypoint", "work_pool"):
        if not one.get(needed):
            yield f"{lined.where(place)}: it has no {needed}"
    yield from _limit_faults(lined, (*place, "concurrency_limit"), one.get("concurrency_limit"))
    for index, schedule in enumerate(one.get("schedules") or ()):
        yield from _told(lined, (*place, "schedules", index), partial(_schedule, schedule))
    yield from _variable_faults(lined, (*place, "work_pool", "job_variables"), one)
    if one.get("entrypoint"):
        yield from _flow_faults(lined, place, one)


def _limit_faults(lined: Lined, place: Place, limit: Any) -> Iterator[str]:
    if isinstance(limit, dict):
        strategy, known = limit.get("collision_strategy"), [each.value for each in ConcurrencyLimitStrategy]
        if strategy not in known:
            yield f"{lined.where((*place, 'collision_strategy'))}: {strategy!r}{did_you_mean(strategy, known)}"
        if not isinstance(limit.get("limit"), int) or limit["limit"] < 1:
            yield f"{lined.where((*place, 'limit'))}: it is no number of runs"


def _schedule(given: Json) -> None:
    """Make a schedule, as Prefect does; what it cannot read raises ValueError."""
    zone = given.get("timezone")
    timezone = None if not zone or _TEMPLATE in zone else zone
    if given.get("cron"):
        CronSchedule(cron=given["cron"], timezone=timezone)
    else:
        Schedule(rrule=given.get("rrule"), timezone=timezone)


def _variable_faults(lined: Lined, place: Place, one: Json) -> Iterator[str]:
    known = keys_of(ProcessVariables)
    for name in (one.get("work_pool") or {}).get("job_variables") or ():
        if name not in known:
            yield f"{lined.where((*place, name))}: a process worker has no such variable{did_you_mean(name, known)}"


def _flow_faults(lined: Lined, place: Place, one: Json) -> Iterator[str]:
    entrypoint = one["entrypoint"]
    try:
        flow: Flow[..., Any] = load_flow_from_entrypoint(entrypoint)
    except (ImportError, OSError, ValueError, PrefectException) as failure:
        yield f"{lined.where((*place, 'entrypoint'))}: {entrypoint} cannot be loaded: {failure}"
        return
    known = inspect.signature(flow.fn).parameters
    sets = [((*place, "parameters"), one.get("parameters") or {})]
    for index, schedule in enumerate(one.get("schedules") or ()):
        sets.append(((*place, "schedules", index, "parameters"), schedule.get("parameters") or {}))
    needed = [name for name, parameter in known.items() if parameter.default is inspect.Parameter.empty]
    for name in needed if one.get("schedules") else ():
        if name not in (one.get("parameters") or {}):
            yield f"{lined.where(sets[0][0])}: the flow needs {name}, so that no scheduled run could begin"
    for where, given in sets:
        for name in given:
            if name not in known:
                yield f"{lined.where((*where, name))}: the flow has no such parameter{did_you_mean(name, known)}"


def _told(lined: Lined, place: Place, make: Callable[[], None]) -> Iterator[str]:
    try:
        make()
    except ValidationError as failure:
        yield from lined.faults_of(failure, place)
    except ValueError as failure:
        yield f"{lined.where(place)}: {failure}"
