"""The plan: what is done with every dataset, why some are left out, how the work is cut, and how it lies on disk."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.clients.tree import OURS
from tasks.clients.verdicts import DownloadError, error
from tasks.model import Dataset, Failure, FileRecord, Proof, Skip
from tasks.plan.batching import BATCH_BYTES, BATCH_FILES, MOST_BATCHES, SIDE_BY_SIDE
from tasks.plan.planfile import Plan, Share, Space, Total, plans, prune_plans, read_batch
from tasks.plan.sources import Router
from tasks.planning import Standing, make_plan, standing

MD5, OTHER_MD5, SHA1 = "a" * 32, "b" * 32, "c" * 40
REPOSITORIES = {
    "server": {"name": "server", "data_url": "https://server.example.org/"},
    "aws_lab": {"name": "aws_lab", "json": {"bucket_name": "bucket"}},
}
EMPTY = Space(free=10**12, reserve=0)


def address(protocol, repository, record, dataset):
    if "hostile" in record.relative_path:
        raise error("bad-path", "It is hostile.")
    return f"{protocol}://{repository['name']}/{record.relative_path}"


def dataset(path="lab/a.npy", size=3, digest=MD5, *, uuid="id-1", on=("server",)):
    return Dataset(uuid, None, "lab", path, size, digest, records=tuple(FileRecord(name, path) for name in on))


def path_of(folder, name):
    return f"{folder}/{name}" if folder else name


def plan_of(*datasets, root="/data", proofs=None, disk=None, space=EMPTY, **options):
    """A plan over a disk and a ledger that are two dicts."""
    proofs, disk = proofs or {}, disk or {}
    return make_plan(
        datasets,
        root=str(root),
        router=Router(REPOSITORIES, address),
        known=lambda paths: [proofs.get(path) for path in paths],
        look=lambda folder, names: [disk.get(path_of(folder, name)) for name in names],
        space=space,
        **options,
    )


def all_transfers(plan):
    return [transfer for number in range(len(plan.batches)) for transfer in plan.transfers(number)]


def reasons(plan):
    return {skip.dataset: skip.reason for skip in plan.skips()}


# --- how a file stands ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "digest", "proof", "found", "expected"),
    [
        (3, MD5, None, None, Standing.FETCH),  # not there
        (3, MD5, Proof(3, MD5, 7), None, Standing.FETCH),  # proven once, gone since
        (3, MD5, Proof(3, MD5, 7), (3, 7), Standing.PRESENT),
        (3, MD5, Proof(3, MD5, 7), (3, 8), Standing.CHECK),  # touched: prove again
        (3, MD5, Proof(3, MD5, 7), (2, 8), Standing.FETCH),  # cut short: cannot be it
        (3, MD5, None, (3, 7), Standing.CHECK),  # ONE's download: adopt
        (3, MD5, None, (4, 7), Standing.FETCH),
        (3, OTHER_MD5, Proof(3, MD5, 7), (3, 7), Standing.FETCH),  # registered anew, same size
        (4, OTHER_MD5, Proof(3, MD5, 7), (3, 7), Standing.FETCH),
        (3, SHA1, Proof(3, MD5, 7), (3, 7), Standing.CHECK),  # Alyx changed the kind of digest
        (3, MD5, Proof(3, "", 7), (3, 7), Standing.CHECK),  # proven by size only, Alyx knows more now
        (3, "", Proof(3, "", 7), (3, 7), Standing.PRESENT),
        (3, "", Proof(3, MD5, 7), (3, 7), Standing.PRESENT),  # Alyx lost the digest: the proof is as good
        (3, "", None, (3, 7), Standing.CHECK),
        (None, MD5, Proof(3, MD5, 7), (3, 7), Standing.PRESENT),
        (None, MD5, None, (3, 7), Standing.CHECK),
        (None, "", None, (3, 7), Standing.FETCH),  # nothing to prove it by
        (None, "", Proof(3, "", 7), (3, 7), Standing.PRESENT),
        (0, MD5, None, (0, 7), Standing.CHECK),
    ],
)
def test_how_a_file_stands(size, digest, proof, found, expected):
    assert standing(size, digest, proof, found) is expected


# --- what is done with every dataset --------------------------------------------------------------


def test_a_plan_says_what_is_fetched_from_where_and_how_much():
    first = dataset("lab/a.npy", 10, uuid="1", on=("server", "aws_lab"))
    second = dataset("lab/b.npy", None, "", uuid="2")
    plan = plan_of(first, second, catalogue="REST", space=Space(free=100, reserve=95))
    assert (plan.fetch, plan.check, plan.present, plan.skipped) == (Total(2, 10, 1), Total(), Total(), 0)
    assert plan.shares == (Share("aws", "aws_lab", 1, 10), Share("http", "server", 1, 0))
    assert (plan.space.needed, plan.space.fits) == (105, False)
    assert plan.catalogue == "REST"
    transfer, unknown = all_transfers(plan)
    assert [source.address for source in transfer.sources] == ["aws://aws_lab/lab/a.npy", "http://server/lab/a.npy"]
    assert (transfer.dataset, transfer.path, transfer.size, transfer.digest) == ("1", "lab/a.npy", 10, MD5)
    assert (unknown.dataset, unknown.size, unknown.digest) == ("2", None, "")


def test_what_is_proven_and_unchanged_needs_no_source_and_makes_no_work():
    proven = {"lab/a.npy": Proof(3, MD5, 7)}
    plan = plan_of(dataset(on=()), proofs=proven, disk={"lab/a.npy": (3, 7)})
    assert plan.present == Total(1, 3)
    assert dict(plan.present_files()) == {"id-1": "lab/a.npy"}
    assert (plan.batches, plan.skipped, plan.space.adds) == ((), 0, 0)


def test_a_dataset_that_is_named_twice_is_present_once():
    plan = plan_of(dataset(), dataset(), proofs={"lab/a.npy": Proof(3, MD5, 7)}, disk={"lab/a.npy": (3, 7)})
    assert plan.present == Total(1, 3)


def test_a_tree_that_one_downloaded_is_checked_and_costs_no_room():
    plan = plan_of(dataset(), disk={"lab/a.npy": (3, 7)})
    assert (plan.check, plan.fetch, plan.space.adds, plan.shares) == (Total(1, 3), Total(), 0, ())
    assert all_transfers(plan)[0].sources  # should the check fail


def test_a_local_file_is_checked_even_where_no_server_has_it():
    plan = plan_of(dataset(on=()), disk={"lab/a.npy": (3, 7)})
    assert plan.check.files == 1
    assert all_transfers(plan)[0].sources == ()


def test_what_cannot_be_had_is_skipped_with_its_reason_and_the_rest_goes_on():
    plan = plan_of(
        dataset("../x.npy", uuid="hostile"),
        dataset("lab/no-records.npy", uuid="nowhere", on=()),
        dataset("lab/digest.npy", digest="123", uuid="digest"),
        dataset("lab/hostile.npy", uuid="address"),
        dataset("lab/good.npy", uuid="good"),
    )
    why = reasons(plan)
    assert plan.skipped == 4
    assert "'../x.npy'" in why["hostile"]
    assert "Alyx has no file record" in why["nowhere"]
    assert "neither md5 nor sha1" in why["digest"]
    assert "Only on server: The registered path is not a safe place" in why["address"]
    assert [transfer.dataset for transfer in all_transfers(plan)] == ["good"]


def test_the_disk_is_never_asked_for_a_hostile_path():
    asked = []
    make_plan(
        [dataset("../../etc/passwd"), dataset("lab/a.npy")],
        root="/data",
        router=Router(REPOSITORIES, address),
        known=lambda paths: [None] * len(paths),
        look=lambda folder, names: asked.extend(path_of(folder, name) for name in names) or [None] * len(names),
        space=EMPTY,
    )
    assert asked == ["lab/a.npy"]


def failure(path="lab/a.npy", size=3, digest=MD5):
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    return Failure(
        "id-1",
        path,
        "server",
        "http",
        2,
        "SKIP_FILE",
        "digest-mismatch",
        "Wrong bytes.",
        "",
        size,
        digest,
        1,
        moment,
        moment,
    )


def test_a_file_that_its_servers_hold_wrongly_rests_until_alyx_registers_something_else():
    resting = {"lab/a.npy": failure()}
    plan = plan_of(dataset(), resting=resting)
    assert "Tried on 2026-11-20" in reasons(plan)["id-1"]
    assert "Wrong bytes." in reasons(plan)["id-1"]
    assert plan.fetch.files == 0
    assert plan_of(dataset(digest=OTHER_MD5), resting=resting).fetch.files == 1
    assert plan_of(dataset(size=4), resting=resting).fetch.files == 1
    assert plan_of(dataset(), resting=resting, disk={"lab/a.npy": (3, 7)}).check.files == 1


# --- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"), [("lab/a.npy", "lab/a.npy"), ("lab/a.npy", "Lab/A.npy"), ("lab/caf\u00e9", "lab/cafe\u0301")]
)
def test_two_datasets_never_fight_for_one_name(one, other):
    plan = plan_of(dataset(one, uuid="1"), dataset(other, digest=OTHER_MD5, uuid="2"), dataset("lab/b.npy", uuid="3"))
    assert [transfer.dataset for transfer in all_transfers(plan)] == ["3"]
    assert set(reasons(plan)) == {"1", "2"}
    assert "2 datasets claim the same local path" in reasons(plan)["1"]
    assert "1, 2." in reasons(plan)["1"]


def test_same_size_without_a_digest_is_not_the_same_file():
    plan = plan_of(dataset(digest="", uuid="1"), dataset(digest="", uuid="2"))
    assert plan.skipped == 2


def test_one_file_registered_twice_is_fetched_once():
    plan = plan_of(dataset(uuid="2"), dataset(uuid="1"))
    assert [transfer.dataset for transfer in all_transfers(plan)] == ["1"]
    assert "The same file as dataset 1" in reasons(plan)["2"]


def test_one_dataset_named_twice_is_one_transfer_and_no_skip():
    plan = plan_of(dataset(digest=""), dataset(digest=""))
    assert (plan.fetch.files, plan.skipped) == (1, 0)


def test_what_is_proven_on_disk_is_not_given_up_for_a_newcomer():
    there = dataset(uuid="there")
    plan = plan_of(
        there,
        dataset("LAB/a.npy", digest=OTHER_MD5, uuid="newcomer"),
        proofs={"lab/a.npy": Proof(3, MD5, 7)},
        disk={"lab/a.npy": (3, 7)},
    )
    assert (plan.present.files, plan.fetch.files) == (1, 0)
    assert "Dataset there, whose file is proven on disk" in reasons(plan)["newcomer"]


def test_a_name_that_others_need_as_a_folder_is_refused():
    plan = plan_of(dataset("lab/x", uuid="file"), dataset("lab/X/a.npy", uuid="1"), dataset("lab/x/b.npy", uuid="2"))
    assert reasons(plan) == {"file": "Other datasets need a folder of this name."}
    assert plan.fetch.files == 2


@pytest.mark.parametrize("there", ["lab/x/b.npy", "LAB/X/b.npy", "lab/x/y/b.npy"])
def test_a_name_that_a_file_on_disk_needs_as_a_folder_is_refused(there):
    plan = plan_of(
        dataset("lab/x", uuid="file"),
        dataset("lab/x.npy", uuid="beside"),
        dataset(there, uuid="there"),
        proofs={there: Proof(3, MD5, 7)},
        disk={there: (3, 7)},
    )
    assert reasons(plan) == {"file": "Other datasets need a folder of this name."}
    assert (plan.fetch.files, plan.present.files) == (1, 1)


def test_what_is_present_is_told_once_by_path_whatever_order_the_catalogue_has(monkeypatch):
    monkeypatch.setattr("tasks.planning._CHUNK", 2)
    there = {f"lab/{name}.npy": (3, 7) for name in "abc"}
    proofs = {path: Proof(3, MD5, 7) for path in there}
    named = [dataset(path, uuid=f"\ud800{path}") for path in there]
    one, other = (plan_of(*order, *named, proofs=proofs, disk=there) for order in (named[::-1], named[1:]))
    assert list(one.present_files()) == [(f"\ud800{path}", path) for path in there]
    assert (one, one.present) == (other, Total(3, 9))


def test_the_files_of_a_folder_share_a_line_and_lines_are_read_together(monkeypatch):
    monkeypatch.setattr("tasks.planning._CHUNK", 10)
    there = {f"lab/{number % 5}/{number:02}.npy": (3, 7) for number in range(25)}
    proofs = {path: Proof(3, MD5, 7) for path in there}
    plan = plan_of(*(dataset(path, uuid=f"id of {path}") for path in there), proofs=proofs, disk=there)
    assert [(lines.files, lines.bytes) for lines in plan.present_lines] == [(10, 30), (10, 30), (5, 15)]
    assert [plan.read(lines.offset, lines.length).count(b"\n") for lines in plan.present_lines] == [2, 2, 1]
    assert list(plan.present_files()) == [(f"id of {path}", path) for path in sorted(there)]


def test_two_datasets_whose_file_is_one_are_both_present():
    plan = plan_of(
        dataset("a.npy", uuid="2"),
        dataset("a.npy", uuid="1"),
        dataset("A.npy", uuid="newcomer"),
        proofs={"a.npy": Proof(3, MD5, 7)},
        disk={"a.npy": (3, 7)},
    )
    assert list(plan.present_files()) == [("1", "a.npy"), ("2", "a.npy")]
    assert "Dataset 1, whose file is proven on disk" in reasons(plan)["newcomer"]


# --- batches --------------------------------------------------------------------------------------

SIZES = st.one_of(st.none(), st.integers(0, 10**6), st.integers(0, 60 * 10**9))


@settings(deadline=None)
@given(st.lists(SIZES, max_size=300))
def test_every_transfer_is_in_exactly_one_batch_large_files_first(sizes):
    plan = plan_of(*(dataset(f"lab/{i:04}.npy", size, uuid=str(i)) for i, size in enumerate(sizes)))
    found = all_transfers(plan)
    assert sorted(int(transfer.dataset) for transfer in found) == list(range(len(sizes)))
    assert sum(batch.files for batch in plan.batches) == len(sizes)
    assert sum(batch.bytes for batch in plan.batches) == plan.fetch.bytes == sum(filter(None, sizes))
    assert plan.fetch.unknown == sizes.count(None)
    for number in range(len(plan.batches)):
        batch = [transfer.size or 0 for transfer in plan.transfers(number)]
        assert batch == sorted(batch, reverse=True)


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([], 0),
        ([1000], 1),
        ([1000] * 99, 1),
        ([1000] * (BATCH_FILES // 2), 1),
        ([1000] * (BATCH_FILES * 2), 2),
        ([1000] * (BATCH_FILES * 3), SIDE_BY_SIDE),  # some work, side by side
        ([1000] * (BATCH_FILES * 5), 5),
        ([BATCH_BYTES] * 7, 8),
        ([10 * BATCH_BYTES] + [1000] * 100, 2),  # a giant has a batch of its own
        ([BATCH_BYTES] * (MOST_BATCHES + 100), MOST_BATCHES),
    ],
)
def test_batches_are_some_work_each_and_never_too_many(sizes, batches):
    plan = plan_of(*(dataset(f"lab/{i:05}.npy", size, uuid=str(i)) for i, size in enumerate(sizes)))
    assert len(plan.batches) == pytest.approx(batches, abs=1 if batches > SIDE_BY_SIDE else 0)
    assert len(plan.batches) <= MOST_BATCHES


def test_batches_are_about_equal_and_keep_neighbours_together():
    plan = plan_of(*(dataset(f"lab/{i:05}.npy", 10**6, uuid=str(i)) for i in range(4000)))
    files = [batch.files for batch in plan.batches]
    assert max(files) - min(files) <= 1
    firsts = [sorted(transfer.path for transfer in plan.transfers(number)) for number in range(len(files))]
    assert [path for batch in firsts for path in batch] == [f"lab/{i:05}.npy" for i in range(4000)]


def test_the_order_of_the_catalogue_does_not_matter():
    made = [dataset(f"lab/{name}.npy", size, uuid=name) for name, size in (("a", 1), ("b", None), ("c", 9))]
    made.append(dataset("../x", uuid="d"))
    found = [plan_of(*order) for order in permutations(made)]
    assert len({plan.id for plan in found}) == 1
    assert all(plan == found[0] for plan in found)
    assert all(all_transfers(plan) == all_transfers(found[0]) for plan in found)
    assert plan_of(*made, root="/other").id != found[0].id
    assert plan_of(*made[1:]).id != found[0].id


# --- the plan on disk -----------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)


@settings(deadline=None, max_examples=30)
@given(names=st.lists(NAMES, max_size=40, unique=True), hostile=st.text(max_size=20))
def test_a_plan_survives_the_disk(tmp_path_factory, names, hostile):
    root = tmp_path_factory.mktemp("root")
    made = [dataset(f"lab/{i}/#r#/{name}.npy", i, uuid=name) for i, name in enumerate(names)]
    there = {f"lab/there/{name}": (3, 7) for name in names}
    proofs = {path: Proof(3, MD5, 7) for path in there}
    made += [dataset(path, uuid=path) for path in there]
    plan = plan_of(*made, dataset(f"../{hostile}\ud800", uuid=hostile), root=root, proofs=proofs, disk=there)
    path = plan.save()
    loaded = Plan.load(path)
    assert loaded == plan
    assert list(loaded.skips()) == list(plan.skips())
    assert dict(loaded.present_files()) == dict(plan.present_files())
    for number in range(len(plan.batches)):
        assert read_batch(path, number) == loaded.transfers(number) == plan.transfers(number)


def test_a_batch_is_a_run_of_lines_of_the_file(tmp_path):
    plan = plan_of(*(dataset(f"lab/{i:04}.npy", i, uuid=str(i)) for i in range(1000)), root=tmp_path)
    header, *rows = plan.save().read_bytes().splitlines(keepends=True)
    assert json.loads(header)["id"] == plan.id
    body = b"".join(rows)
    cut = [body[batch.offset : batch.offset + batch.length] for batch in plan.batches]
    assert b"".join(cut) == body
    assert [part.count(b"\n") for part in cut] == [batch.files for batch in plan.batches]


def test_a_plan_lies_under_its_root_for_this_user_only(tmp_path):
    path = plan_of(dataset(), root=tmp_path).save()
    assert path.parent == plans(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, tmp_path / OURS)} == {0o700}
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_plan_can_be_saved(tmp_path):
    plan = plan_of(root=tmp_path)
    assert Plan.load(plan.save()) == plan


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(b""), "Expecting value"),
        (lambda path: path.write_bytes(b"[]\n"), "integer"),
        (lambda path: path.write_bytes(b'{"plan": 99}\n'), "another version"),
        (lambda path: path.write_bytes(b'{"plan": 3}\n'), "fetch"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "batch 0"),
        (lambda path: os.truncate(path, path.read_bytes().index(b"\n") + 1), "batch 0: it is cut short"),
    ],
)
def test_a_spoilt_plan_is_refused_with_its_path(tmp_path, spoil, words):
    path = plan_of(dataset(), root=tmp_path).save()
    spoil(path)
    with pytest.raises(DownloadError, match=words) as refusal:
        read_batch(path, 0)
    assert refusal.value.code == "bad-plan"
    assert str(path) in refusal.value.reason


def test_a_batch_that_is_not_there_is_refused(tmp_path):
    path = plan_of(dataset(), root=tmp_path).save()
    with pytest.raises(DownloadError, match="batch 1"):
        read_batch(path, 1)


def test_a_plan_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / OURS).mkdir()
    plans(tmp_path).write_text("a file where the folder belongs")
    with pytest.raises(DownloadError) as refusal:
        plan_of(dataset(), root=tmp_path).save()
    assert refusal.value.code == "target"


def test_a_full_disk_is_told_and_leaves_no_half_plan(tmp_path):
    def full(_offset, _length):
        raise OSError(28, "No space left on device")

    plan = replace(plan_of(dataset(), root=tmp_path), read=full)
    with pytest.raises(DownloadError) as refusal:
        plan.save()
    assert refusal.value.code == "disk-full"
    assert list(plans(tmp_path).iterdir()) == []


def test_old_plans_are_pruned_and_new_ones_kept(tmp_path):
    old = plan_of(dataset(), root=tmp_path).save()
    new = plan_of(dataset(), dataset("lab/b.npy", uuid="2"), root=tmp_path).save()
    half = old.with_suffix(".half")
    half.write_text("")
    other = old.with_suffix(".txt")
    other.write_text("")
    for path in (old, half, other):
        os.utime(path, (1000, 1000))
    assert prune_plans(plans(tmp_path), before=2000) == 2
    assert sorted(plans(tmp_path).iterdir()) == sorted([new, other])
    assert prune_plans(tmp_path / "nowhere", before=2000) == 0


def test_the_lines_of_a_large_plan_do_not_lie_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.plan.spool._IN_MEMORY", 100)
    plan = plan_of(*(dataset(f"lab/{i:04}.npy", i, uuid=str(i)) for i in range(50)), root=tmp_path)
    assert Plan.load(plan.save()) == plan
    assert len(all_transfers(plan)) == 50


def test_skips_are_read_in_bounded_pieces(monkeypatch):
    monkeypatch.setattr("tasks.planning._CHUNK", 10)
    plan = plan_of(*(dataset(f"../{i:04}", uuid=str(i)) for i in range(35)))
    assert [lines.files for lines in plan.skip_lines] == [10, 10, 10, 5]
    assert len(list(plan.skips())) == plan.skipped == 35
    assert all(isinstance(skip, Skip) for skip in plan.skips())
