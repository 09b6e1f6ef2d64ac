"""The one file that a site edits, checked to the last key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from deployments.keys import unknown
from deployments.lines import Lined
from tasks.clients.verdicts import DownloadError
from tasks.hints import did_you_mean
from tasks.rest.credentials import base_url
from tasks.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping


def _no_such_key(key: str, known: Mapping[str, Any]) -> str:
    return f"there is no such key{did_you_mean(key, known)}"


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is no time zone{did_you_mean(name, available_timezones())}")
    return name


def _address(text: str) -> str:
    try:
        return base_url(text)
    except DownloadError as failure:
        raise ValueError(failure.reason) from None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Strict):
    """Batches at once over all workers."""

    alyx: PositiveInt | None = Field(default=None, description="Plans that ask Alyx at once.")
    alyx_per_minute: Annotated[int, Field(ge=9)] | None = Field(
        default=None, description="Requests to Alyx a minute, by all machines; Alyx itself allows a user 550."
    )
    repositories: dict[str, PositiveInt] = Field(default={}, description="By name of the data repository.")
    servers: dict[str, PositiveInt] = Field(default={}, description="By host name, or name of the bucket.")


class Site(_Strict):
    """What differs from site to site."""

    alyx_url: Annotated[str, AfterValidator(_address)]
    root: Path
    selection: Selection
    timezone: Annotated[str, AfterValidator(_zone)] = "UTC"
    work_pool: str = Field(default="alyx", pattern=r"^[\w -]+$")
    flow_runs_at_once: PositiveInt = 4
    limits: Limits = Limits()
    heartbeat_seconds: int = Field(default=60, ge=30, description="Prefect knows no shorter one.")
    webhook_env: str = ""
    freshness_hours: PositiveInt = 26

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a site's file.

        Raises:
            DownloadError: `deploy-file`, with line and key of everything that is wrong.
        """
        lined = Lined.read(path)
        lined.refuse(list(unknown(lined, cls, _no_such_key)))
        try:
            return cls.model_validate(lined.data)
        except ValidationError as failure:
            lined.refuse(lined.faults_of(failure))
            raise

    def webhook(self, environment: Mapping[str, str] = os.environ) -> str:
        """Return the webhook's secret address, "" where there is none."""
        return environment.get(self.webhook_env, "") if self.webhook_env else ""

    def variables(self) -> dict[str, Any]:
        """Return what prefect.yaml refers to as Prefect variables."""
        return {
            "alyx_url": self.alyx_url,
            "alyx_root": str(self.root),
            "alyx_selection": self.selection.model_dump(mode="json", exclude_defaults=True),
            "alyx_timezone": self.timezone,
            "alyx_work_pool": self.work_pool,
            "alyx_heartbeat_seconds": str(self.heartbeat_seconds),
        }

    def words(self) -> dict[str, str]:
        """Return what automations.yaml refers to."""
        return {
            "zombie_seconds": str(3 * self.heartbeat_seconds),
            "freshness_hours": str(self.freshness_hours),
            "freshness_seconds": str(3600 * self.freshness_hours),
            "work_pool": self.work_pool,
        }
