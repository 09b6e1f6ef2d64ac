"""The mirror: its watermark never passes what is not settled, and it finds all that changes, once."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from deployments.sandbox import Lab
from deployments.sandbox.model import Fate
from flows.fetched import Fetched
from tasks.keeping.mirroring import prepare_mirror
from tasks.keeping.watermark import OVERLAP, Watermark
from tasks.ledger import Ledger
from tasks.model import Outcome, State, Summary
from tasks.selection import Selection
from tests.lab_runs import carry_out, settings

EVERYTHING = Selection.read({"everything": True, "revision_rule": "all"})
MORNING = datetime(2026, 11, 22, 6, tzinfo=UTC)


# --- the watermark ----------------------------------------------------------------------------------


@pytest.fixture
def mark(tmp_path):
    return Watermark.of(tmp_path, "http://alyx", EVERYTHING)


def test_before_the_first_complete_run_there_is_none(mark):
    assert mark.read() is None
    assert mark.since() is None


def test_it_moves_forward_and_never_back(mark):
    mark.advance(MORNING)
    mark.advance(MORNING - timedelta(hours=1))
    assert mark.read() == MORNING
    assert mark.since() == MORNING - OVERLAP
    assert [path.name for path in mark.path.parent.iterdir()] == [mark.path.name]


@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"settled_until": 5}', '{"settled_until": "soon"}'])
def test_a_spoilt_one_means_that_all_is_listed_again(mark, spoilt):
    mark.advance(MORNING)
    mark.path.write_text(spoilt)
    assert mark.read() is None
    mark.advance(MORNING)
    assert mark.read() == MORNING


def test_every_selection_of_every_alyx_has_its_own(tmp_path):
    labs = Selection.read({"labs": ["cortexlab"]})
    by_http = Selection.read({"labs": ["cortexlab"], "protocols": ["http"]})
    path = Watermark.of(tmp_path, "http://alyx", labs).path
    assert Watermark.of(tmp_path, "http://alyx", by_http).path == path
    assert Watermark.of(tmp_path, "http://other", labs).path != path
    assert Watermark.of(tmp_path, "http://alyx", EVERYTHING).path != path


@pytest.mark.parametrize(
    ("summary", "settled"),
    [
        (Summary(files=5, published=3, present=1, failed=1), True),
        (Summary(files=4, published=3, present=1), False),
        (Summary(files=5, published=4, present=1, stopped="The disk is full."), False),
    ],
)
def test_a_run_is_settled_when_the_ledger_knows_every_transfer(summary, settled):
    plan = SimpleNamespace(batches=[SimpleNamespace(files=4)], present=SimpleNamespace(files=1), skipped=0)
    assert Fetched(plan, summary, ()).is_settled is settled


# --- with a lab -------------------------------------------------------------------------------------


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


def prepared(root, mode="changed", selection=EVERYTHING):
    return prepare_mirror(selection, root, mode, settings())


def mirrored(root, mode="changed", selection=EVERYTHING, name="run"):
    """One whole run, but for Prefect."""
    work = prepared(root, mode, selection)
    outcomes = carry_out(work.plan, name)
    work.watermark.advance(work.begun)
    return outcomes


def listed(plan):
    return plan.present.files + plan.skipped + sum(batch.files for batch in plan.batches)


def test_what_is_mirrored_already_is_not_even_listed(lab, tmp_path):
    first = mirrored(tmp_path)
    assert sum(outcome.state is State.PUBLISHED for outcome in first.values()) > 50
    lab.requests.clear()
    work = prepared(tmp_path)
    # What is left: the aggregate, which has no session, and what failed before.
    assert listed(work.plan) == 2
    assert work.plan.fetch.files == 0
    assert lab.requests.count(server="http") + lab.requests.count(server="s3") == 0


def test_new_and_changed_datasets_are_found(lab, tmp_path):
    mirrored(tmp_path)
    session = next(iter(lab.world.sessions.values()))
    new = lab.register(session, "alf", "new.times.npy", b"\x93NUMPY" + bytes(100))
    changed = lab.rewrite(lab.world.odd("only-s3"), b"\x93NUMPY" + bytes(200))
    outcomes = mirrored(tmp_path, name="second")
    published = {path for path, outcome in outcomes.items() if outcome.state is State.PUBLISHED}
    assert published == {new.path, changed.path}
    assert (tmp_path / changed.path).read_bytes() == changed.content


def test_changes_of_days_when_nothing_ran_are_caught_up_once(lab, tmp_path):
    mirrored(tmp_path)
    mark = prepared(tmp_path).watermark
    mark.path.write_text(json.dumps({"settled_until": (mark.read() - timedelta(days=3)).isoformat()}))
    session = next(iter(lab.world.sessions.values()))
    new = [lab.register(session, "alf", f"day{day}.times.npy", b"\x93NUMPY" + bytes(day)) for day in range(3)]
    published = [outcome for outcome in mirrored(tmp_path, name="1").values() if outcome.state is State.PUBLISHED]
    assert {outcome.path for outcome in published} == {each.path for each in new}
    for name in "23":  # the other two runs that were missed
        assert not any(outcome.state is State.PUBLISHED for outcome in mirrored(tmp_path, name=name).values())


def test_a_run_that_dies_half_way_leaves_the_watermark(lab, tmp_path):
    work = prepared(tmp_path)
    done = carry_out(work.plan, most=10)
    again = prepared(tmp_path)
    assert again.watermark.read() is None
    published = sum(outcome.state is State.PUBLISHED for outcome in done.values())
    assert again.plan.fetch.files == work.plan.fetch.files - published


def test_a_change_while_alyx_is_asked_belongs_to_the_next_run(lab, tmp_path):
    work = prepared(tmp_path)
    session = next(iter(lab.world.sessions.values()))
    late = lab.register(session, "alf", "late.times.npy", b"\x93NUMPY" + bytes(9))
    carry_out(work.plan)
    work.watermark.advance(work.begun)
    assert mirrored(tmp_path, name="next")[late.path].state is State.PUBLISHED


def test_what_failed_before_is_tried_again_by_every_mode(lab, tmp_path):
    lost = lab.world.odd("only-http")
    (path,) = lab.paths(lost, ["http"])
    content = path.read_bytes()
    path.unlink()
    assert mirrored(tmp_path)[lost.path].state is State.FAILED
    assert {one.dataset for one in Ledger.read_only(tmp_path).failed()} == {lost.id, lab.world.odd("wrong-digest").id}
    path.write_bytes(content)
    outcomes = mirrored(tmp_path, "failed", name="retry")
    assert outcomes.keys() == {lost.path}  # the wrong digest rests
    assert outcomes[lost.path].state is State.PUBLISHED


def test_a_failure_that_another_selection_left_is_left_to_that_one(lab, tmp_path):
    mirrored(tmp_path)
    (failed,) = Ledger.read_only(tmp_path).failed()
    other = next(each for each in ("cortexlab", "churchlandlab") if not failed.path.startswith(each))
    assert listed(prepared(tmp_path, "failed", Selection.read({"labs": [other]})).plan) == 0


def test_a_failed_dataset_that_alyx_has_no_more_stops_nothing(lab, tmp_path):
    mirrored(tmp_path)
    del lab.world.datasets[lab.world.odd("wrong-digest").id]
    assert listed(prepared(tmp_path, "failed").plan) == 0
    assert Ledger.read_only(tmp_path).failed() == []


def test_all_looks_at_everything(lab, tmp_path):
    mirrored(tmp_path)
    truth = [each for each in lab.manifest.values() if each.fate is Fate.PUBLISHED]
    (tmp_path / truth[0].path).unlink()
    assert prepared(tmp_path, "changed").plan.fetch.files == 0
    plan = prepared(tmp_path, "all").plan
    assert listed(plan) == len(lab.manifest)
    assert plan.fetch.files == 1


def test_a_ledger_that_cannot_be_written_moves_nothing(mark):
    mark.path.parent.mkdir(parents=True)
    if os.geteuid():
        mark.path.parent.chmod(0o500)
        with pytest.raises(Exception, match="cannot be written"):
            mark.advance(MORNING)
        mark.path.parent.chmod(0o700)
    assert mark.read() is None


def test_outcomes_are_listed_with_their_reasons():
    mended = Outcome("id", "a.npy", State.PUBLISHED, reason="It was gone from the disk.")
    plain = Outcome("id", "b.npy", State.PUBLISHED)
    shown = list(Fetched(None, Summary(), (mended, plain)).trouble())
    assert shown == ["published a.npy", "         It was gone from the disk."]
