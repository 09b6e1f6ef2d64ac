"""ONE and us: ONE opens our tree with the network closed, and we adopt what ONE downloaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from deployments.sandbox import Lab
from tasks.alyx import AlyxClient
from tasks.clients.verdicts import DownloadError
from tasks.ledger import Ledger
from tasks.model import State
from tasks.tables.writing import write_tables
from tests.mirror import mirror

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployments.sandbox.model import Dataset

#: What runs in a Python of its own that cannot open a connection; its last line is its answer.
OFFLINE = """
import json, socket, sys
def closed(*_, **__): raise OSError("the network is closed")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = closed
from one.api import One
one = One(cache_dir=sys.argv[1])
assert one.offline
"""
#: Servers whose requests are downloads.
FILES = ("http", "members", "s3")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab, pytest.MonkeyPatch.context() as patch:
        for name, value in lab.environment().items():
            patch.setenv(name, value)
        yield lab


@pytest.fixture(scope="module")
def root(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mirror of the lab, with the tables for ONE."""
    root = tmp_path_factory.mktemp("mirror")
    mirror(root, everything=True, revision_rule="all")
    write_tables(root, AlyxClient())
    return root


def offline(program: str, root: Path, home: Path) -> Any:
    """What a program that uses `one` prints as JSON."""
    environment = {**os.environ, "HOME": str(home), "ALYX_URL": ""}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE + program, str(root)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def of(lab: Lab, subject: str, day: str) -> list[Dataset]:
    (eid,) = (one.id for one in lab.world.sessions.values() if (one.subject, f"{one.start:%Y-%m-%d}") == (subject, day))
    return [one for one in lab.world.datasets.values() if one.session == eid]


def test_it_lists_every_session_and_every_dataset(lab: Lab, root: Path, tmp_path: Path) -> None:
    found = offline(
        """
listed = {str(eid): one.list_datasets(eid, filename="*", qc="CRITICAL") for eid in one.search()}
print(json.dumps(listed))
""",
        root,
        tmp_path,
    )
    there = {
        (one.session, one.path.split("/", 5)[5])
        for one in lab.world.datasets.values()
        if one.session and (root / one.path).exists()
    }
    assert {(eid, path) for eid, paths in found.items() for path in paths} == there
    assert len(there) == 55


def test_it_searches_as_online(lab: Lab, root: Path, tmp_path: Path) -> None:
    found = offline(
        """
print(json.dumps([len(one.search(**query)) for query in (
    {"subject": "KS005"}, {"lab": "churchlandlab"}, {"date_range": ["2019-04-01", "2019-04-02"]},
    {"projects": "sandbox_brain_wide"}, {"task_protocol": "ephysChoice"}, {"number": 2},
    {"datasets": "licks.raw.npy"})]))
""",
        root,
        tmp_path,
    )
    assert found == [2, 2, 2, 5, 5, 1, 1]


def test_it_loads_the_very_bytes_revisions_included(lab: Lab, root: Path, tmp_path: Path) -> None:
    found = offline(
        """
import hashlib
(eid,) = one.search(subject="KS005", date_range=["2019-04-01", "2019-04-01"])
loaded = {}
for revision in (None, "2024-06-15", "2024-01-01", "2024-03-01", "2023-01-01"):
    path = one.load_dataset(eid, "spikes.times.npy", collection="alf/probe00", revision=revision, download_only=True)
    loaded[str(revision)] = hashlib.md5(path.read_bytes()).hexdigest()
array = one.load_dataset(eid, "spikes.times.npy", collection="alf/probe00")
wheel = one.load_object(eid, "wheel", collection="alf")
print(json.dumps([loaded, list(array.shape), sorted(wheel)]))
""",
        root,
        tmp_path,
    )
    loaded, shape, attributes = found
    true = {
        one.revision: lab.manifest[one.id].md5 for one in of(lab, "KS005", "2019-04-01") if "spikes.times" in one.name
    }
    assert loaded == {
        "None": true["2024-06-15"],
        "2024-06-15": true["2024-06-15"],
        "2024-01-01": true["2024-01-01"],
        "2024-03-01": true["2024-01-01"],
        "2023-01-01": true[""],
    }
    assert shape == [20_000]
    assert attributes == ["position", "timestamps"]


def test_what_it_loads_is_not_taken_for_damaged(lab: Lab, root: Path, tmp_path: Path) -> None:
    """A sha1, a digest with dashes and none at all: ONE compares with md5 only."""
    kinds = [lab.world.odd(kind).path for kind in ("sha1", "dashes", "no-hash", "no-size", "zero-byte")]
    found = offline(
        f"""
import logging
from pathlib import Path
said = []
class Ear(logging.Handler):
    def emit(self, record):
        said.append(record.getMessage())
logging.getLogger("one").addHandler(Ear())
for path in {kinds!r}:
    lab, _, subject, day, number, rest = path.split("/", 5)
    (eid,) = one.search(subject=subject, date_range=[day, day])
    assert one.load_dataset(eid, rest, download_only=True) == Path(one.cache_dir, path)
print(json.dumps([text for text in said if "mismatch" in text]))
""",
        root,
        tmp_path,
    )
    assert found == []


def test_an_old_revision_alone_is_the_one_to_load(lab: Lab, tmp_path: Path) -> None:
    root = tmp_path / "old"
    mirror(root, names=["spikes.times.npy"], subjects=["KS005"], revision_rule="exact", revision="2024-01-01")
    assert write_tables(root, AlyxClient()) == 1
    found = offline(
        """
(eid,) = one.search()
print(json.dumps(str(one.load_dataset(eid, "spikes.times.npy", download_only=True))))
""",
        root,
        tmp_path,
    )
    assert "#2024-01-01#" in found


def test_tables_follow_the_tree(lab: Lab, tmp_path: Path) -> None:
    mirror(tmp_path, subjects=["KS014"])
    assert write_tables(tmp_path, AlyxClient()) == 9
    next(tmp_path.rglob("licks.times.npy")).unlink()
    assert write_tables(tmp_path, AlyxClient(), tmp_path / "elsewhere") == 8
    assert pq.read_table(tmp_path / "elsewhere" / "datasets.pqt").num_rows == 8
    assert not list(tmp_path.glob(".*.pqt.*"))


def test_tables_of_others_stay(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "datasets.pqt").write_bytes(b"somebody's")
    with pytest.raises(DownloadError) as caught:
        write_tables(tmp_path, AlyxClient())
    assert caught.value.code == "other-tables"
    assert (tmp_path / "datasets.pqt").read_bytes() == b"somebody's"


def test_what_one_downloaded_is_adopted_and_not_fetched_again(lab: Lab) -> None:
    program = """
import sys
from one.api import ONE
one = ONE(base_url=sys.argv[1], silent=True, cache_rest=None)
for eid in one.search(subject="KS005"):
    for path in one.list_datasets(eid, filename="*.npy"):
        one.load_dataset(eid, path, download_only=True)
print(one.cache_dir)
"""
    command = [sys.executable, "-c", program, lab.urls["alyx"]]
    theirs = {**os.environ, **lab.environment("http")}
    done = subprocess.run(command, env=theirs, capture_output=True, text=True, check=True)
    lab.environment()  # ONE's files again as we need them
    root = Path(done.stdout.splitlines()[-1])
    files = {path: path.stat().st_mtime_ns for path in root.rglob("*.npy")}
    assert len(files) > 8
    lab.requests.clear()
    fields = {"subjects": ["KS005"], "names": ["*.npy"], "qc_at_most": "WARNING"}  # ONE leaves out what is worse
    first = mirror(root, **fields)
    assert first.plan.check.files == len(first.outcomes) == 9
    assert {one.state for one in first.outcomes.values()} == {State.PRESENT}
    assert sum(lab.requests.count(server=server) for server in FILES) == 0
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.npy")} == files
    second = mirror(root, **fields)
    assert (second.plan.present.files, second.plan.check.files, second.plan.fetch.files) == (9, 0, 0)
    assert len(Ledger.read_only(root).datasets()) == 9
