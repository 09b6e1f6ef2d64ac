"""Settings that Prefect knows: `PREFECT_INTEGRATIONS_ALYX_*` in the environment, profiles and `prefect.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from prefect.settings.base import PrefectBaseSettings, build_settings_config
from pydantic import Field, ValidationError

from tasks.clients.verdicts import error
from tasks.words import faults_of


class AlyxSettings(PrefectBaseSettings):
    """Defaults of all flows; a flow parameter or an option of the command goes before them."""

    model_config = build_settings_config(("integrations", "alyx"))

    root: Path | None = Field(
        default=None, description="Where the files go; by default ONE's cache directory for the Alyx host."
    )
    connections: int = Field(default=8, ge=1, le=64, description="Files that a batch moves at once.")
    batches_at_once: int = Field(default=2, ge=1, le=64, description="Batches that one flow run moves at once.")
    attempts: int = Field(
        default=5, ge=1, description="Requests in a row without progress before a source is given up."
    )
    connect_seconds: float = Field(default=10, gt=0, description="Longest wait for a connection.")
    stall_seconds: float = Field(default=60, gt=0, description="How long bytes may come slower than 10 kB a second.")
    bytes_per_second: int | None = Field(default=None, ge=1, description="Speed limit of one connection.")
    reserve_bytes: int = Field(default=1_000_000_000, ge=0, description="Bytes that stay free on the disk.")
    partial_days: float = Field(default=14, gt=0, description="Days after which a partial nobody continues is removed.")

    @classmethod
    def read(cls) -> Self:
        """Read the settings as they are now.

        Raises:
            DownloadError: `settings`, with what is wrong with which one.
        """
        try:
            return cls()
        except ValidationError as failure:
            raise error("settings", f"PREFECT_INTEGRATIONS_ALYX_...: {faults_of(failure)}.") from failure
