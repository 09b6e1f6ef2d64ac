"""`prefect-alyx adopt`: a tree that somebody else downloaded is proven, and only what is damaged is fetched."""

from __future__ import annotations

import shutil

import pytest

from deployments.sandbox.lab import Lab
from deployments.sandbox.model import Fate
from tasks.clients.verdicts import DownloadError
from tasks.keeping.adopting import prepare_adoption
from tasks.ledger import Ledger
from tasks.model import State
from tests.lab_runs import carry_out, settings

FILE_SERVERS = ("http", "members", "s3")


@pytest.fixture(scope="module")
def running():
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(running, monkeypatch):
    running.reset()
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    return running


@pytest.fixture
def cache(lab, tmp_path):
    """A cache as ONE leaves it, with some files of one lab, and a file that nobody registered."""
    known = [lab.world.datasets[dataset] for dataset, truth in lab.manifest.items() if truth.fate is Fate.PUBLISHED]
    mine = [one for one in known if one.path.startswith("churchlandlab/Subjects/")][:8]
    for one in mine:
        (tmp_path / one.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one.path).write_bytes(one.content)
    (tmp_path / "churchlandlab" / "notes.txt").write_text("mine")
    return tmp_path, mine


def file_requests(lab):
    return sum(lab.requests.count(server=server, method="GET") for server in FILE_SERVERS)


def test_what_is_right_is_proven_without_a_request(lab, cache):
    root, mine = cache
    outcomes = carry_out(prepare_adoption(None, root, settings()))
    assert {path: one.state for path, one in outcomes.items()} == {one.path: State.PRESENT for one in mine}
    assert file_requests(lab) == 0
    assert set(Ledger.read_only(root).known()) == {one.path for one in mine}
    assert (root / "churchlandlab" / "notes.txt").read_text() == "mine"


def test_what_is_damaged_is_fetched_and_nothing_else(lab, cache):
    root, mine = cache
    victim = root / mine[0].path
    good = victim.read_bytes()
    victim.write_bytes(bytes(len(good)))
    outcomes = carry_out(prepare_adoption(None, root, settings()))
    published = [path for path, one in outcomes.items() if one.state is State.PUBLISHED]
    assert published == [mine[0].path]
    assert victim.read_bytes() == good
    assert len(outcomes) == len(mine)


def test_a_second_time_there_is_nothing_to_do(lab, cache):
    root, mine = cache
    carry_out(prepare_adoption(None, root, settings()))
    plan = prepare_adoption(None, root, settings())
    assert (plan.fetch.files, plan.check.files, plan.present.files) == (0, 0, len(mine))


def test_a_place_that_is_no_cache_is_told(lab, tmp_path):
    with pytest.raises(DownloadError, match="no <lab>/Subjects"):
        prepare_adoption(None, tmp_path, settings())


def test_a_lab_that_alyx_does_not_have_is_named(lab, cache):
    root, _ = cache
    shutil.copytree(root / "churchlandlab", root / "oldlab")
    with pytest.raises(DownloadError, match="Alyx has no 'oldlab'"):
        prepare_adoption(None, root, settings())
