"""Plans a million datasets from ONE's cache tables, and says what it costs beside reading the same file alone.

    python scripts/million.py [DATASETS ...]

Prints the seconds and the highest resident memory of both, each measured in a process of its own, and their ratios;
for several numbers of datasets, one after another.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.plan.disk import look
from tasks.plan.planfile import Space
from tasks.plan.sources import Router
from tasks.planning import make_plan
from tasks.preparing import Addresses
from tasks.rest.pages import Page
from tasks.selection import Selection
from tasks.tables import catalogue as tables
from tasks.tables.files import DATASETS, SESSIONS
from tasks.tables.rows import Tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.model import Json

LABS = 10
SESSION_FILES = 50
REPOSITORIES: dict[str, Json] = {
    name: {"name": name, "data_url": f"https://data.example.org/{lab}/Subjects/", "globus_path": "/", "json": json_}
    for lab in (f"lab{number}" for number in range(LABS))
    for name, json_ in (
        (f"flatiron_{lab}", None),
        (f"aws_{lab}", {"bucket_name": "brain-public", "region_name": "us-east-1"}),
    )
}


class Silent:
    """An Alyx that has nothing to add."""

    def page(self, _endpoint: str, **_filters: Any) -> Page:
        """Return an empty page."""
        return Page(0, [])


def build(directory: Path, count: int) -> None:
    """Write tables of so many datasets, sorted by session as Alyx writes them."""
    sessions = max(1, count // SESSION_FILES)
    eids = [_id(1, number) for number in range(sessions)]
    info = {b"one_metadata": json.dumps({"date_created": "2026-11-22 07:02"}).encode()}
    columns = {
        "id": eids,
        "lab": [f"lab{number % LABS}" for number in range(sessions)],
        "subject": [f"subject{number // 20:05}" for number in range(sessions)],
        "date": [date(2020, 1, 1) + timedelta(number % 2000) for number in range(sessions)],
        "number": pa.array([1] * sessions, pa.uint16()),
        "task_protocol": ["ephysChoiceWorld"] * sessions,
        "projects": ["brainwide"] * sessions,
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(info), directory / SESSIONS)
    rows = range(count)
    columns = {
        "eid": [eids[row // SESSION_FILES % sessions] for row in rows],
        "id": [_id(2, row) for row in rows],
        "file_size": pa.array([1000 + row % 100_000 for row in rows], pa.uint64()),
        "hash": [f"{row * 0x9E3779B97F4A7C15 % (1 << 128):032x}" for row in rows],
        "default_revision": [True] * count,
        "qc": pa.array(["NOT_SET"] * count).dictionary_encode(),
        "exists": [True] * count,
        "rel_path": [f"alf/probe{row % 50 // 25:02}/_ibl_object{row % 50:02}.attribute.npy" for row in rows],
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(info), directory / DATASETS)


def _id(kind: int, number: int) -> str:
    return str(UUID(int=kind << 120 | number, version=4))


def plan(directory: Path) -> int:
    """Plan everything, into a root that does not exist; return the number of files."""
    selection = Selection.read({"everything": True})
    opened = Tables.open(directory)
    if fault := tables.objection(selection, REPOSITORIES, ("aws", "http")) or tables.lacking(selection, opened):
        raise SystemExit(fault)
    root = directory / "root"
    made = make_plan(
        tables.datasets(selection, opened, Silent(), REPOSITORIES),
        root=str(root),
        router=Router(REPOSITORIES, Addresses(REPOSITORIES), configured=("aws", "http")),
        known=lambda paths: [None] * len(paths),
        look=partial(look, root),
        space=Space(1 << 50, 0),
    )
    made.save()
    return made.fetch.files


def read(directory: Path) -> int:
    """Read the same file with pyarrow alone."""
    return int(pq.read_table(directory / DATASETS).num_rows)


def peak() -> float:
    """Highest resident memory of this process, in MB; what `getrusage` says holds its parent's, too."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measured(what: str, directory: Path) -> tuple[int, float, float]:
    """Files, seconds and peak MB of `plan`, `read` or `nothing`, in a process of its own."""
    command = [sys.executable, __file__, what, str(directory)]
    files, seconds, most = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(files), float(seconds), float(most)


def lines(count: int) -> Iterator[str]:
    """Measure, and say it."""
    with tempfile.TemporaryDirectory() as name:
        build(Path(name), count)
        _, _, bare = measured("nothing", Path(name))
        _, reading, reading_peak = measured("read", Path(name))
        files, planning, planning_peak = measured("plan", Path(name))
    yield f"{count:,} datasets"
    yield f"imports alone:  {bare:7.0f} MB"
    yield f"pyarrow reads:  {reading:7.2f} s  {reading_peak:7.0f} MB"
    yield f"planned:        {planning:7.2f} s  {planning_peak:7.0f} MB  {files:,} files"
    yield f"ratio:          {planning / reading:7.1f} times the reading, {1e6 * planning / files:.0f} us a file"


def main() -> None:
    """Measure, or be measured."""
    what, *more = sys.argv[1:] or ["1000000"]
    if what == "build":
        build(Path(more[0]), int(more[1]))
    elif what in ("plan", "read", "nothing"):
        begin = time.perf_counter()
        files = {"plan": plan, "read": read}.get(what, lambda _: 0)(Path(more[0]))
        print(files, time.perf_counter() - begin, peak())
    else:
        for count in map(int, (what, *more)):
            print(*lines(count), sep="\n", flush=True)


if __name__ == "__main__":
    main()
