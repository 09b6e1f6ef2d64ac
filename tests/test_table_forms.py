"""Any form of cache tables, old ones included, and rows that need more than the tables hold."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import uuid as uuids
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.selection import Selection
from tasks.tables.catalogue import datasets
from tasks.tables.files import unpack
from tasks.tables.rows import Tables
from tests.fake_alyx import FakeAlyx, session
from tests.fake_alyx import dataset as registered
from tests.loopback import client_of, serve
from tests.table_server import archive

if TYPE_CHECKING:
    import pytest

    from tasks.model import Dataset

EID, OTHER = uuids.UUID(int=5, version=4), uuids.UUID(int=9, version=4)
IDS = [uuids.UUID(int=number, version=4) for number in range(100, 104)]
SESSION = {"lab": "labA", "subject": "S1", "date": date(2024, 1, 2), "number": 3}
ROW = {"file_size": 10, "hash": "0" * 32, "exists": True, "rel_path": "alf/a.times.npy", "default_revision": True}
ALL = {"everything": True}


def listed(folder: Path, zip_file: bytes, alyx: FakeAlyx, repositories: list[str], **fields: Any) -> list[Dataset]:
    (folder / "cache.zip").write_bytes(zip_file)
    unpack(folder / "cache.zip", folder)
    with serve(alyx) as server:
        return list(datasets(Selection(**fields), Tables.open(folder), client_of(server.url), repositories))


def halves(name: str, identifier: uuids.UUID) -> dict[str, int]:
    return dict(zip((f"{name}_0", f"{name}_1"), struct.unpack("<qq", identifier.bytes), strict=True))


def test_old_tables_are_read(tmp_path: Path) -> None:
    sessions = [{**halves("id", one), **SESSION, "number": 3.0, "project": "p, q"} for one in (EID, OTHER)]
    old = {"file_size": 10.0, "hash": None, "exists": True, "session_path": "labA/Subjects/S1/2024-01-02/003"}
    rows = [
        {**halves("eid", EID), **halves("id", IDS[0]), **old, "rel_path": "alf/#2020-01-01#/a.b.npy"},
        {**halves("eid", EID), **halves("id", IDS[1]), **old, "rel_path": "a.b.npy", "file_size": float("nan")},
    ]
    found = listed(
        tmp_path, archive(tmp_path, sessions, rows), FakeAlyx(), ["flatiron_labA"], **ALL, revision_rule="all"
    )
    assert [(one.id, one.session, one.size, one.digest) for one in found] == [
        (str(IDS[0]), str(EID), 10, ""),
        (str(IDS[1]), str(EID), None, ""),
    ]
    assert [one.path for one in found] == [
        "labA/Subjects/S1/2024-01-02/003/alf/#2020-01-01#/a.b.npy",
        "labA/Subjects/S1/2024-01-02/003/a.b.npy",
    ]
    assert [record.repository for record in found[0].records] == ["flatiron_labA"]
    assert found[0].records[0].exists is None


def test_projects_of_old_tables_are_matched(tmp_path: Path) -> None:
    sessions = [{**halves("id", EID), **SESSION, "project": "p, q"}]
    rows = [{**halves("eid", EID), **halves("id", IDS[0]), **ROW}]
    alyx = FakeAlyx([session(projects=["p", "q", "r"])])
    zip_file = archive(tmp_path, sessions, rows)
    assert len(listed(tmp_path, zip_file, alyx, ["aws_labA"], projects=["q"])) == 1
    for name in ("sessions.pqt", "datasets.pqt"):
        (tmp_path / name).unlink()
    assert listed(tmp_path, zip_file, alyx, ["aws_labA"], projects=["r"]) == []


def test_nan_is_no_revision(tmp_path: Path) -> None:
    rows = [{"eid": str(EID), "id": str(IDS[0]), **ROW, "rel_path": "alf/#nan#/a.times.npy"}]
    zip_file = archive(tmp_path, [{"id": str(EID), **SESSION}], rows)
    (found,) = listed(tmp_path, zip_file, FakeAlyx(), ["aws_labA"], **ALL)
    assert (found.revision, found.path) == ("", "labA/Subjects/S1/2024-01-02/003/alf/a.times.npy")
    assert found.records[0].relative_path == "S1/2024-01-02/003/alf/a.times.npy"


def test_rows_are_grouped_by_session_whatever_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The revisions of a dataset lie far from one another, and the file is read in many parts."""
    monkeypatch.setattr("tasks.tables.rows._ROWS", 2)
    sessions = [{"id": str(one), **SESSION, "number": n} for n, one in enumerate((EID, OTHER))]
    rows = [
        {**ROW, "eid": str(eid), "id": str(uuids.UUID(int=number * 10 + n, version=4)),
         "rel_path": f"alf/#2024-0{number}-01#/a.b.npy", "default_revision": number == 2}
        for number in range(1, 5) for n, eid in enumerate((EID, OTHER))
    ]  # fmt: skip
    found = listed(tmp_path, archive(tmp_path, sessions, rows), FakeAlyx(), ["aws_labA"], **ALL)
    assert sorted((one.session, one.revision) for one in found) == [
        (str(EID), "2024-02-01"),
        (str(OTHER), "2024-02-01"),
    ]


def test_rows_that_the_convention_does_not_cover_get_their_records_by_batches_of_ids(tmp_path: Path) -> None:
    of = session("labA", "S1", "2024-01-02", 3)
    rows = [registered(of, f"a{number}.b.npy") for number in range(150)]
    ids = [row["url"][-36:] for row in rows]
    table = [
        {"eid": of["id"], "id": each, **ROW, "rel_path": f"alf/a{number}.b.npy", "exists": number > 5}
        for number, each in enumerate(ids)
    ]
    (tmp_path / "cache.zip").write_bytes(archive(tmp_path, [{"id": of["id"], **SESSION}], table))
    unpack(tmp_path / "cache.zip", tmp_path)
    alyx = FakeAlyx([of], rows[1:])  # one was deleted since the tables were made
    for repositories, batches in ((["flatiron"], 2), (["flatiron", "aws_labA"], 1)):
        with serve(alyx) as server:
            found = list(datasets(Selection(labs=["labA"]), Tables.open(tmp_path), client_of(server.url), repositories))
        assert {one.id for one in found} == set(ids[1:])
        assert {record.repository for one in found for record in one.records} <= {"flatiron", "aws_labA"}
        assert server.paths.count("GET /datasets") == batches


def test_the_script_that_measures_a_million_still_measures() -> None:
    script = Path(__file__).parent.parent / "scripts" / "million.py"
    environment = {**os.environ, "PYTHONPATH": str(script.parent.parent)}
    done = subprocess.run([sys.executable, script, "2000"], env=environment, capture_output=True, text=True, check=True)
    assert "2,000 files" in done.stdout
    assert "times the reading" in done.stdout
