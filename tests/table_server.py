"""An Alyx that offers cache tables of any form, for tests."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
from iblutil.io import parquet

from tests.loopback import Asked, Reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fake_alyx import FakeAlyx

Json = dict[str, Any]


@dataclass
class TableServer:
    """A fake Alyx, and the files of its tables.

    Attributes:
        info: What `/cache/info/` and `/cache/info/<tag>/` answer, by tag.
        files: Bodies by path, such as `/cache.zip`.
    """

    alyx: FakeAlyx
    info: dict[str, Json] = field(default_factory=lambda: {"": {"date_created": "2026-11-22 07:02"}})
    files: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, asked: Asked) -> Reply:
        """Answer a request."""
        if asked.path.startswith("/cache/info/"):
            info = self.info.get(asked.path.removeprefix("/cache/info/").strip("/"))
            return Reply.of(info) if info else Reply.of({"status_code": 500, "detail": "no such file"}, 500)
        if asked.path in self.files:
            return Reply(200, self.files[asked.path], {"Content-Type": "application/zip"})
        return self.alyx(asked)


def zipped(**entries: bytes) -> bytes:
    """A zip file; `__` in a name stands for a dot."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "."), content)
    return target.getvalue()


def table(folder: Path, rows: list[Json], index: list[str]) -> bytes:
    """A table as ONE and Alyx write it; ids as pairs of integers stay as they are."""
    frame = pd.DataFrame(rows)
    path = folder / "table.pqt"
    parquet.save(path, frame.set_index(index), {"date_created": "2026-11-22 07:02"})
    return path.read_bytes()


def archive(folder: Path, sessions: list[Json], datasets: list[Json]) -> bytes:
    """The zip file of both tables."""
    ids = [["id"], ["eid", "id"]] if "id" in sessions[0] else [["id_0", "id_1"], ["eid_0", "eid_1", "id_0", "id_1"]]
    return zipped(
        sessions__pqt=table(folder, sessions, ids[0]),
        datasets__pqt=table(folder, datasets, ids[1]),
        cache_info__json=json.dumps({}).encode(),
    )
