"""Scrubbing: every damage is found, put aside and mended; nothing is deleted; nothing good is touched."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from deployments.sandbox import Lab
from deployments.sandbox.model import Fate
from tasks.clients.verdicts import DownloadError
from tasks.keeping.mirroring import prepare_mirror
from tasks.keeping.verifying import prepare_scrub
from tasks.ledger import Ledger
from tasks.model import Outcome, State
from tasks.selection import Selection
from tasks.transfer.carrying import Carrier
from tasks.wording import selection_words
from tests.lab_runs import carry_out, opened, scrub, settings

SESSION = {"subjects": ["KS005"], "revision_rule": "all"}


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
def tree(lab, tmp_path):
    """A mirrored subject, all of it good."""
    outcomes = carry_out(prepare_mirror(Selection.read(SESSION), tmp_path, "all", settings()).plan)
    assert {outcome.state for outcome in outcomes.values()} == {State.PUBLISHED}
    return tmp_path


@pytest.fixture
def good(lab, tree):
    """The datasets on disk with their true bytes, by path."""
    return {each.path: each for each in lab.world.datasets.values() if (tree / each.path).exists()}


def planned(root, share=1.0):
    return prepare_scrub(root, share, settings())


def quarantined(root):
    folder = root / ".prefect-alyx" / "quarantine"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flip(path):
    """Change one bit in the middle, and nothing that `stat` shows."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return bytes(content)


def assert_all_good(root, good):
    for path, dataset in good.items():
        assert (root / path).read_bytes() == dataset.content, path


def test_an_intact_tree_is_read_and_nothing_is_fetched(lab, tree, good):
    lab.requests.clear()
    outcomes = scrub(planned(tree))
    assert outcomes.keys() == good.keys()
    assert {outcome.state for outcome in outcomes.values()} == {State.PRESENT}
    assert lab.requests.count(server="http") + lab.requests.count(server="s3") == 0
    assert quarantined(tree) == {}


def test_a_flipped_bit_is_found_put_aside_and_mended(tree, good):
    path = next(path for path in good if path.endswith("probe00/spikes.times.npy"))
    damaged = flip(tree / path)
    assert prepare_mirror(Selection.read(SESSION), tree, "all", settings()).plan.fetch.files == 0  # stat tells nothing
    outcomes = scrub(planned(tree), "run-7")
    assert outcomes[path].state is State.PUBLISHED
    assert "not what it was proven" in outcomes[path].reason
    assert quarantined(tree) == {f"run-7/{path}": damaged}
    assert_all_good(tree, good)
    assert {one.state for one in scrub(planned(tree), "run-8").values()} == {State.PRESENT}


@pytest.mark.parametrize("content", [b"", b"short", b"\x93NUMPY" + bytes(500_000)])
def test_a_file_of_another_size_is_found(tree, good, content):
    path = next(iter(good))
    (tree / path).write_bytes(content)
    assert scrub(planned(tree))[path].state is State.PUBLISHED
    assert list(quarantined(tree).values()) == [content]
    assert_all_good(tree, good)


def test_a_missing_file_is_fetched_again(tree, good):
    path = next(iter(good))
    (tree / path).unlink()
    outcome = scrub(planned(tree))[path]
    assert (outcome.state, outcome.reason) == (State.PUBLISHED, "It was gone from the disk.")
    assert_all_good(tree, good)


def test_a_file_that_was_only_touched_stays(tree, good):
    path = next(iter(good))
    os.utime(tree / path)
    assert scrub(planned(tree))[path].state is State.PRESENT
    assert quarantined(tree) == {}
    plan = prepare_mirror(Selection.read(SESSION), tree, "all", settings()).plan
    assert plan.present.files == len(good)  # its new time is known


def test_what_alyx_registers_anew_is_replaced_and_not_damaged(lab, tree, good):
    path, dataset = next((path, each) for path, each in good.items() if not each.kind)
    good[path] = lab.rewrite(dataset, dataset.content[::-1])
    outcome = scrub(planned(tree))[path]
    assert (outcome.state, outcome.reason) == (State.PUBLISHED, "")
    assert quarantined(tree) == {}
    assert_all_good(tree, good)


def test_a_damaged_file_that_no_source_has_any_more_is_put_aside_and_told(lab, tree, good):
    path, dataset = next((path, each) for path, each in good.items() if not each.kind)
    for copy in lab.paths(dataset):
        copy.unlink(missing_ok=True)
    damaged = flip(tree / path)
    outcome = scrub(planned(tree), "run")[path]
    assert outcome.state is State.FAILED
    assert f".prefect-alyx/quarantine/run/{path}" in outcome.reason
    assert not (tree / path).exists()
    assert quarantined(tree) == {f"run/{path}": damaged}
    assert [failure.path for failure in Ledger.read_only(tree).failed()] == [path]


def test_what_alyx_has_no_more_is_still_read_and_never_touched(lab, tree, good):
    gone, damaged = list(good)[:2]
    for path in (gone, damaged):
        del lab.world.datasets[good[path].id]
    flip(tree / damaged)
    outcomes = scrub(planned(tree))
    assert outcomes[gone].state is State.PRESENT
    assert (tree / gone).read_bytes() == good[gone].content
    assert outcomes[damaged].state is State.FAILED
    assert len(quarantined(tree)) == 1


def test_the_oldest_proofs_come_first_and_the_whole_tree_in_turn(tree, good):
    total, seen = sum(len(each.content) for each in good.values()), []
    while len(set(seen)) < len(good):
        outcomes = scrub(planned(tree, 0.2), f"run-{len(seen)}")
        assert not set(outcomes) & set(seen) or set(outcomes) | set(seen) == set(good)  # round it goes
        read = sum(len(good[path].content) for path in outcomes)
        assert read >= 0.2 * total or len(set(seen) | set(outcomes)) == len(good)
        seen += outcomes


def test_a_disk_that_cannot_read_a_file_is_damage(tree, good, monkeypatch):
    path = next(iter(good))
    proves = Carrier.proves

    def unreadable_once(self, asked, expected):
        if asked == path and (tree / path).stat().st_ino == sick:
            raise OSError(errno.EIO, "Input/output error")
        return proves(self, asked, expected)

    sick = (tree / path).stat().st_ino
    monkeypatch.setattr(Carrier, "proves", unreadable_once)
    assert scrub(planned(tree))[path].state is State.PUBLISHED
    assert len(quarantined(tree)) == 1


def test_a_link_in_place_of_a_folder_is_not_followed(tree, good, tmp_path_factory):
    path = next(iter(good))
    outside = tmp_path_factory.mktemp("outside")
    folder = (tree / path).parent
    folder.rename(outside / "moved")
    folder.symlink_to(outside / "moved")
    before = sorted(p.read_bytes() for p in (outside / "moved").rglob("*") if p.is_file())
    outcomes = scrub(planned(tree))
    assert outcomes[path].state is State.FAILED
    assert sorted(p.read_bytes() for p in (outside / "moved").rglob("*") if p.is_file()) == before


@pytest.mark.parametrize("step", ["record", "move", "disprove"])
def test_killed_anywhere_the_next_runs_mend_it(lab, tree, good, monkeypatch, step):
    path = next(iter(good))
    flip(tree / path)
    place = {"record": Ledger, "disprove": Ledger}.get(step)

    class Killed(BaseException):
        pass

    def kill(*_args, **_options):
        raise Killed

    with monkeypatch.context() as patch:
        if place:
            patch.setattr(place, step, kill)
        else:
            patch.setattr("tasks.clients.tree.Tree.move", kill)
        with pytest.raises(Killed):
            scrub(planned(tree), "killed")
    carry_out(prepare_mirror(Selection.read(SESSION), tree, "failed", settings()).plan, "retry")
    scrub(planned(tree), "again")
    assert_all_good(tree, good)
    assert len(quarantined(tree)) == 1


def test_twice_at_once_puts_nothing_good_aside(tree, good):
    path = next(iter(good))
    flip(tree / path)
    plan, late = planned(tree), planned(tree)
    scrub(plan, "first")
    with opened(tree, "second") as run:
        assert run.ledger.known([path])
    scrub(late, "second")
    assert [Path(name).parts[0] for name in quarantined(tree)] == ["first"]
    assert_all_good(tree, good)


def test_only_what_is_proven_is_scrubbed(lab, tmp_path):
    with opened(tmp_path) as run:
        run.ledger.record([Outcome("id", "a.npy", State.FAILED)])
    assert planned(tmp_path).batches == ()


def test_the_list_of_runs_says_what_a_scrub_was():
    assert selection_words({"verify": 0.15}) == "verify 15% of the tree"


@pytest.mark.parametrize("there", [True, False])
def test_a_tree_that_is_not_there_is_not_well(lab, tmp_path, there):
    place = tmp_path if there else tmp_path / "mistyped"
    with pytest.raises(DownloadError) as refused:
        planned(place)
    assert refused.value.code == "no-tree"


def test_the_truth_is_the_labs(lab, good):
    assert {lab.manifest[each.id].fate for each in good.values()} == {Fate.PUBLISHED}
