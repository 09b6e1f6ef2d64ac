"""A run through the fault server, and its report: what `prefect-alyx demo --faults` shows.

Each row of the fault matrix is a dataset that Alyx registers; its file server misbehaves as the row says.
"""

from __future__ import annotations

import random
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from deployments.sandbox.faults import MATRIX, Expect, FaultServer
from deployments.sandbox.lab import Lab
from flows.demo import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployments.sandbox.faults import Fault
    from flows.fetched import Fetched

_SIZE = 400_000
#: The patience of a demonstration; a real run waits a minute before it calls a connection stalled.
_IMPATIENT = {"PREFECT_INTEGRATIONS_ALYX_STALL_SECONDS": "2"}


def fault_demo(*, say: Callable[[str], None], show: Callable[[str], None]) -> int:
    """Download a file through each fault of the matrix, and print what became of it.

    Returns:
        0 when every row ended as it should, 1 otherwise.
    """
    say("Starting a lab on loopback whose file server misbehaves ...")
    with Lab() as lab, FaultServer() as server, tempfile.TemporaryDirectory() as folder:
        lab.urls["http"] = server.endpoint
        planted = {_plant(lab, server, name, fault): (name, fault) for name, fault in MATRIX.items()}
        with environment({**lab.environment(), **_IMPATIENT}):
            done = _fetch(sorted(planted), Path(folder) / "root", say)
        rows = [_judge(lab, server, done, dataset, *planted[dataset]) for dataset in planted]
    show("| fault | what became of it | requests | bytes served | as it should |\n| --- | --- | ---: | ---: | --- |")
    for row, _ in rows:
        show(row)
    show(f"\n{sum(good for _, good in rows)} of {len(rows)} as they should be\n{done.summary.line()}")
    return 0 if all(good for _, good in rows) else 1


def _plant(lab: Lab, server: FaultServer, name: str, fault: Fault) -> str:
    """Register a dataset and let its file server play a fault; return the dataset's id."""
    data = random.Random(name).randbytes(_SIZE)  # noqa: S311  (seeded data)
    slug = re.sub(r"\W+", "-", name).strip("-")
    dataset = lab.register(next(iter(lab.world.sessions.values())), "faults", f"{slug}.csv", data)
    server.put(_path(lab, dataset.id), data, fault.script)
    return dataset.id


def _path(lab: Lab, dataset_id: str) -> str:
    (place,) = lab.paths(lab.world.datasets[dataset_id], ("http",))
    return f"/{place.relative_to(lab.stores.root / 'http').as_posix()}"


def _fetch(datasets: list[str], root: Path, say: Callable[[str], None]) -> Fetched:
    from flows.fetching import fetch
    from tasks.selection import Selection

    say("Downloading through every fault of the matrix ...")
    return fetch(Selection.read({"dataset_ids": datasets, "protocols": ["http"]}), root, say)


def _judge(lab: Lab, server: FaultServer, done: Fetched, dataset: str, name: str, fault: Fault) -> tuple[str, bool]:
    (outcome,) = (one for one in done.outcomes if one.dataset == dataset)
    path = _path(lab, dataset)
    ratio, requests = server.sent(path) / _SIZE, len(server.hits(path, "GET"))
    wanted = "published" if fault.expect is Expect.RIGHT else "failed"
    good = outcome.state == wanted and ratio <= fault.ratio
    became = f"{outcome.state}, {outcome.code}" if outcome.code else str(outcome.state)
    return f"| {name} | {became} | {requests} | x{ratio:.2f} | {'yes' if good else 'NO'} |", good
