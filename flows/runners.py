"""Where the batches of a flow run: threads of its process, processes of its machine, or a Dask cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from tasks.clients.verdicts import error
from tasks.settings import AlyxSettings

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner


def batch_runner() -> TaskRunner[Any]:
    """Make what the settings name.

    Raises:
        DownloadError: `settings`, where Dask is not installed.
    """
    settings = AlyxSettings.read()
    if settings.runner == "dask":
        return _dask(settings.dask_address, settings.batches_at_once)
    kind = ThreadPoolTaskRunner if settings.runner == "threads" else ProcessPoolTaskRunner
    return cast("TaskRunner[Any]", kind(max_workers=settings.batches_at_once))


def _dask(address: str, workers: int) -> TaskRunner[Any]:
    """A cluster that is there, or one of this machine for as long as the flow runs."""
    try:
        from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415  (an extra)
    except ModuleNotFoundError as failure:
        raise error("settings", f'{failure}. `pip install "prefect-alyx[dask]"` brings it.') from failure
    local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    return cast("TaskRunner[Any]", DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=local))
