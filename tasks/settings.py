"""Settings that Prefect knows: `PREFECT_INTEGRATIONS_ALYX_*` in the environment, profiles and `prefect.toml`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from prefect.settings.base import PrefectBaseSettings, build_settings_config
from pydantic import Field, SecretStr, ValidationError

from tasks.clients.verdicts import error
from tasks.hints import faults_of
from tasks.transfer.bandwidth import Bwlimit

#: Who names the datasets of a selection.
Catalogue = Literal["auto", "rest", "tables"]
#: Where the batches of a flow run.
Runner = Literal["threads", "processes", "dask"]


class AlyxSettings(PrefectBaseSettings):
    """Defaults of all flows; a flow parameter or an option of the command goes before them."""

    model_config = build_settings_config(("integrations", "alyx"))

    root: Path | None = Field(
        default=None, description="Where the files go; by default ONE's cache directory for the Alyx host."
    )
    ledger: SecretStr = Field(
        default=SecretStr(""),
        description="URL of the PostgreSQL database in which a fleet keeps its ledger, `postgresql://user@host/name`; "
        "each root has a schema of its own there. By default the ledger is a SQLite file under the root.",
    )
    catalogue: Catalogue = Field(
        default="auto",
        description="Who names the datasets: rest (Alyx, exact to the second), tables (ONE's cache tables, where they "
        "can answer exactly), or auto: tables for selections of many sessions.",
    )
    connections: int = Field(
        default_factory=lambda: os.environ.get("ONE_HTTP_DL_THREADS") or 16,
        ge=1,
        le=64,
        validate_default=True,
        description="Files that a batch moves at once; ONE_HTTP_DL_THREADS is heeded where this is not set.",
    )
    batches_at_once: int = Field(default=2, ge=1, le=64, description="Batches that one flow run moves at once.")
    runner: Runner = Field(
        default="threads",
        description="Where batches run: threads of the flow's process, processes of its machine, or a Dask cluster.",
    )
    dask_address: str = Field(
        default="", description="Scheduler of the Dask cluster; by default one of this machine, for each run."
    )
    attempts: int = Field(
        default=5, ge=1, description="Requests in a row without progress before a source is given up."
    )
    connect_seconds: float = Field(default=10, gt=0, description="Longest wait for a connection.")
    stall_seconds: float = Field(default=60, gt=0, description="How long bytes may come slower than 10 kB a second.")
    bytes_per_second: int | None = Field(default=None, ge=1, description="Speed limit of one connection.")
    bwlimit: Bwlimit = Field(
        default="",
        description="Limit of all runs on this machine together, in rclone's words: `10M`, or a timetable such as "
        "`08:00,512k 19:00,10M 23:00,off`.",
    )
    reserve_bytes: int = Field(default=1_000_000_000, ge=0, description="Bytes that stay free on the disk.")
    partial_days: float = Field(default=14, gt=0, description="Days after which a partial nobody continues is removed.")
    count_downloads: bool = Field(default=False, description="Tell Alyx which datasets were downloaded, to be counted.")
    flag_mismatches: bool = Field(
        default=False,
        description="Tell Alyx of a file record whose server gave the same wrong bytes twice (json.mismatch_hash).",
    )
    allow_hosts: tuple[str, ...] = Field(
        default=(),
        description="Names, addresses or networks of file servers that may be asked though they are this machine "
        "(for an Alyx elsewhere), link-local, or a cloud's metadata service.",
    )
    credentials_block: str = Field(default="", description="Name of an `Alyx Credentials` block to log in with.")
    params_block: str = Field(default="", description="Name of an `Alyx Remote Params` block to lay down for ONE.")

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
