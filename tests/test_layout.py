"""Local paths: where ONE puts a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from one.alf.path import remove_uuid_string

from tasks.datasets.sessions import Session
from tasks.layout import local_path, without_uuid
from tests.fake_alyx import dataset, session, uuid

RECORDINGS = Path(__file__).parent / "recordings"


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / f"{name}.json").read_text())["response"]["body"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("datasets-read", "testlab/Subjects/ALX_001/2023-01-16/001/alf/_ibl_trials.table.pqt"),
        ("datasets-read-revision", "testlab/Subjects/ALX-003/2023-09-11/001/alf/probe00/#2024-01-01#/spikes.times.npy"),
        (
            "datasets-read-unicode-space-name",
            "testlab/Subjects/ALX_002/2023-03-03/001/alf/notes.table Größe 日本 1.csv",
        ),
        ("datasets-read-no-file-records", "testlab/Subjects/S/2024-01-01/001/alf/licks.times.npy"),
        ("datasets-read-aggregate-no-session", "aggregates/Subjects/testlab/ALX_001/_ibl_subjectTrials.table.pqt"),
    ],
)
def test_where_one_puts_it(name: str, path: str) -> None:
    row = recorded(name)
    assert local_path(row, Session.of(session("testlab", "S")) if row["session"] else None) == path


def record(path: str, *, exists: bool = True, repository_path: str = "/labA/Subjects/") -> dict[str, Any]:
    return {"data_repository": "r", "relative_path": path, "exists": exists, "data_repository_path": repository_path}


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"file_records": [record("S/2024-01-01/1/a.b.npy")]}, "labA/Subjects/S/2024-01-01/1/a.b.npy"),
        ({"file_records": [record("z/a.b"), record("b/a.b"), record("a/a.b", exists=False)]}, "labA/Subjects/b/a.b"),
        ({"file_records": [record("z/a.npy", exists=False)]}, "labA/Subjects/z/a.npy"),
        ({"file_records": [record(f"S/a.b.{uuid(1)}.npy")]}, "labA/Subjects/S/a.b.npy"),
        ({"file_records": [], "collection": "", "revision": None}, "labA/Subjects/S1/2024-01-01/001/a.b.npy"),
        ({"file_records": [], "collection": None, "revision": "r1"}, "labA/Subjects/S1/2024-01-01/001/#r1#/a.b.npy"),
    ],
)  # fmt: skip
def test_records_that_differ(more: dict[str, Any], path: str) -> None:
    of = session()
    assert local_path({**dataset(of, "a.b.npy"), **more}, Session.of(of)) == path


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"file_records": [record("Subjects/a.b", repository_path="/public/aggregates/")]}, "aggregates/Subjects/a.b"),
        ({"file_records": [record("aggregates/x/a.b.npy", repository_path="/")]}, "aggregates/x/a.b.npy"),
        ({"file_records": [record("resources/x.nrrd", repository_path="")]}, "aggregates/resources/x.nrrd"),
        ({"file_records": []}, "aggregates/alf/a.b.npy"),
    ],
)  # fmt: skip
def test_aggregates(more: dict[str, Any], path: str) -> None:
    assert local_path({**dataset(None, "a.b.npy"), **more}, None) == path


def test_a_session_without_lab_or_number() -> None:
    of = Session.of({**session(), "lab": None, "number": None})
    row = {**dataset(session(), "a.b.npy"), "file_records": []}
    assert local_path(row, of) == "S1/2024-01-01/000/alf/a.b.npy"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "path",
    [f"a/x.{uuid(1)}.npy", f"a/a.tar.{uuid(1)}.gz", f"a/noext.{uuid(1)}", f"a/x.{uuid(1).upper()}.npy", "a/b.npy",
     "a/x.0b305d2f-04dc-1ef1-be1c-db18931391a1.npy", f"{uuid(1)}/x.npy", f"a/x.{uuid(1)}.{uuid(2)}.npy", "a.b/c"],
)  # fmt: skip
def test_uuids_go_as_they_go_in_one(path: str) -> None:
    assert without_uuid(path) == remove_uuid_string(path).as_posix()
