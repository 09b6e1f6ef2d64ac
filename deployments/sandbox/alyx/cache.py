"""ONE's cache tables, written as Alyx writes them: with pandas and iblutil.

Both come with ONE-api and are no dependency of ours, so a sandbox without them answers as an Alyx that
has no tables yet.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

from deployments.sandbox.alyx.database import PROTOCOL, QC
from deployments.sandbox.alyx.query import QueryError
from deployments.sandbox.data import TAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployments.sandbox.data import World
    from deployments.sandbox.model import Dataset

    Json = dict[str, Any]

_COUNTED = ("flatiron", "aws")  # Alyx leaves out repositories of other names


def info(world: World, tag: str | None = None) -> Json | Response:
    """Return what the tables hold, of everything or of one tag."""
    if tag is not None and tag not in TAGS:
        return HTMLResponse("Tag matching query does not exist.", 404, {"X-Frame-Options": "DENY"})
    return _files(world, tag)[1]


def archive(world: World) -> Response:
    """Return the tables of everything as a zip file."""
    files, about = _files(world, None)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in {**files, "cache_info.json": json.dumps(about).encode()}.items():
            zipped.writestr(name, content)
    headers = {"Content-Disposition": 'inline; filename="cache.zip"', "X-Frame-Options": "DENY"}
    return Response(target.getvalue(), media_type="application/zip", headers=headers)


def _files(world: World, tag: str | None) -> tuple[dict[str, bytes], Json]:
    if importlib.util.find_spec("pandas") is None or importlib.util.find_spec("iblutil") is None:
        raise QueryError("[Errno 2] No such file or directory: 'cache_info.json'")
    datasets = [each for each in list(world.datasets.values()) if _counts(each) and (tag is None or tag in each.tags)]
    changed = max((each.changed for each in world.datasets.values()), default=None)
    about: Json = {
        "date_created": f"{changed:%Y-%m-%d %H:%M}" if changed else "2024-07-01 12:00",
        "origin": "alyx",
        "min_api_version": "2.10",
        **({"database_tags": [tag]} if tag else {}),
    }
    tables = {"sessions": _sessions(world, datasets), "datasets": _datasets(datasets)}
    files = {name: _parquet(table, about) for name, table in tables.items()}
    sizes = {name: {"nrecs": len(tables[name]), "size": _footer(content)} for name, content in files.items()}
    return {f"{name}.pqt": content for name, content in files.items()}, {**about, "tables": sizes}


def _counts(dataset: Dataset) -> bool:
    names = (each.repository for each in dataset.records if each.exists)
    return dataset.session is not None and any(name.startswith(_COUNTED) for name in names)


def _sessions(world: World, datasets: list[Dataset]) -> Any:
    sessions = (world.sessions[each] for each in dict.fromkeys(dataset.session or "" for dataset in datasets))
    rows = [
        {
            "id": each.id,
            "lab": each.lab,
            "subject": each.subject,
            "date": each.start.date(),
            "number": each.number or 0,
            "task_protocol": PROTOCOL,
            "projects": each.project,
        }
        for each in sessions
    ]
    return _frame(rows, ["id"], {"number": "uint16"})


def _datasets(datasets: list[Dataset]) -> Any:
    pandas = importlib.import_module("pandas")
    rows = [
        {
            "eid": each.session,
            "id": each.id,
            "file_size": each.size,
            "hash": each.hash,
            "default_revision": each.default,
            "qc": each.qc,
            "exists": True,
            "rel_path": "/".join(each.path.split("/")[5:]),  # behind lab, Subjects, subject, date and number
        }
        for each in datasets
    ]
    return _frame(rows, ["eid", "id"], {"file_size": "UInt64", "qc": pandas.CategoricalDtype(list(QC), ordered=True)})


def _frame(rows: list[Json], index: list[str], types: Mapping[str, Any]) -> Any:
    pandas = importlib.import_module("pandas")
    return pandas.DataFrame(rows).astype(types).set_index(index).sort_index()


def _parquet(table: Any, about: Json) -> bytes:
    parquet = importlib.import_module("iblutil.io.parquet")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "table.pqt")
        parquet.save(path, table, about)
        return path.read_bytes()


def _footer(content: bytes) -> int:
    """Return the size of a parquet file's footer, which is what Alyx calls the size of a table."""
    return int(struct.unpack("<I", content[-8:-4])[0])
