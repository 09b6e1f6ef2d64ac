"""The sandbox's data: real in their bytes, the same every time, and odd in known ways only."""

import io
import json
from collections import Counter
from dataclasses import fields

import numpy as np
import pytest

from deployments.sandbox import data
from deployments.sandbox.data import LABS, STREAMING, World, build
from deployments.sandbox.model import Fate, State, digest, with_uuid

KINDS = {
    "http-absent", "multipart", "only-s3", "only-http", "s3-lost", "critical", "passed", "http-lost", "wrong-digest",
    "members", "no-records", "s3-stale", "sha1", "dashes", "no-hash", "unicode", "zero-byte", "no-size",
    "only-laptop", "nowhere", "warned", "aggregate",
}  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return build()


def registered(world: World, suffix: str):
    found = [each for each in world.datasets.values() if each.name.endswith(suffix) and each.content]
    assert found
    return found


def test_there_are_two_labs_several_sessions_and_about_sixty_datasets(world):
    assert {session.lab for session in world.sessions.values()} == set(LABS) == {"cortexlab", "churchlandlab"}
    assert len(world.sessions) == 6
    assert len(world.datasets) == 60
    sizes = [len(each.content) for each in world.datasets.values()]
    assert sum(sizes) < 30_000_000
    assert max(sizes) == 8_000_000
    assert sorted(sizes)[-2] <= 400_000


def test_every_oddity_is_there_once(world):
    kinds = Counter(each.kind for each in world.datasets.values() if each.kind)
    assert kinds == dict.fromkeys(KINDS, 1)
    with pytest.raises(LookupError, match="'purple'"):
        world.odd("purple")


def test_exactly_one_dataset_fails_and_only_for_its_digest(world):
    failed = [truth for truth in world.manifest().values() if truth.fate is Fate.FAILED]
    assert [truth.kind for truth in failed] == ["wrong-digest"]
    dataset = world.odd("wrong-digest")
    assert dataset.hash != digest(dataset.content)
    assert {record.state for record in dataset.records} == {State.GOOD}


def test_what_is_skipped_shows_it_in_its_records(world):
    skipped = {truth.kind for truth in world.manifest().values() if truth.fate is Fate.SKIPPED}
    assert skipped == {"no-records", "only-laptop", "nowhere"}
    for kind in skipped:
        on_servers = [
            each for each in world.odd(kind).records if world.repositories[each.repository].server in STREAMING
        ]
        assert not any(record.exists for record in on_servers)


def test_what_is_lost_at_one_source_is_good_at_another(world):
    for kind in ("http-lost", "s3-lost", "s3-stale"):
        states = {world.repositories[each.repository].server: each.state for each in world.odd(kind).records}
        assert {states["http"], states["s3"]} in ({State.LOST, State.GOOD}, {State.STALE, State.GOOD})
        assert world.manifest()[world.odd(kind).id].fate is Fate.PUBLISHED


def test_the_laptop_gives_its_file_over_globus(world):
    assert world.manifest(("globus",))[world.odd("only-laptop").id].fate is Fate.PUBLISHED


def test_a_stale_copy_can_be_told_by_its_digest_alone(world):
    dataset = world.odd("s3-stale")
    assert len(dataset.stale) == len(dataset.content)
    assert dataset.stale[:128] == dataset.content[:128]
    assert digest(dataset.stale) != dataset.hash


def test_digests_are_registered_in_all_forms(world):
    lengths = {kind: len(world.odd(kind).hash) for kind in ("sha1", "dashes", "no-hash", "passed")}
    assert lengths == {"sha1": 40, "dashes": 36, "no-hash": 0, "passed": 32}
    assert world.odd("dashes").hash.replace("-", "") == digest(world.odd("dashes").content)
    assert world.odd("no-size").size is None
    assert world.odd("zero-byte").hash == "d41d8cd98f00b204e9800998ecf8427e"


def test_paths_lie_where_one_puts_them(world):
    paths = {each.kind or each.revision: each.path for each in world.datasets.values()}
    assert paths["aggregate"] == "aggregates/Subjects/cortexlab/KS005/_ibl_subjectTrials.table.pqt"
    assert paths["2024-01-01"] == "cortexlab/Subjects/KS005/2019-04-01/001/alf/probe00/#2024-01-01#/spikes.times.npy"
    assert paths["unicode"] == "churchlandlab/Subjects/CSHL_003/2019-05-07/001/alf/notes.table Größe 日本 1.csv"
    assert len({each.path for each in world.datasets.values()}) == len(world.datasets)


def test_one_of_three_revisions_is_the_default(world):
    found = [
        each for each in world.datasets.values() if each.path.endswith("spikes.times.npy") and "04-01" in each.path
    ]
    assert sorted((each.revision, each.default) for each in found) == [
        ("", False),
        ("2024-01-01", False),
        ("2024-06-15", True),
    ]


def test_numpy_reads_every_array(world):
    for each in registered(world, ".npy"):
        values = np.load(io.BytesIO(each.content))
        assert values.ndim == 1
        if ".times" in each.name:
            assert (np.diff(values) >= 0).all()


def test_other_files_begin_as_their_kind_does(world):
    assert all(each.content[:4] == each.content[-4:] == b"PAR1" for each in registered(world, ".pqt"))
    assert all(each.content[4:8] == b"ftyp" for each in registered(world, ".mp4"))
    assert all(each.content.count(b"\t") > 100 for each in registered(world, ".tsv"))
    assert all(json.loads(each.content) for each in registered(world, ".json"))


def test_everything_follows_from_the_seed(world):
    again, other = data._built.__wrapped__(0, 0, 2_000), build(seed=1)
    assert again.datasets == world.datasets
    assert world.odd("sha1").id == "0be77f17-6ed4-5baf-8664-880a45ab0097"
    assert world.odd("sha1").hash == "51779b76ea4e2e36fcffdf8da4da30f3fa174e4b"
    assert other.datasets.keys() == world.datasets.keys()
    different = [key for key, each in other.datasets.items() if each.content != world.datasets[key].content]
    assert len(different) == len(world.datasets) - 1  # all but the empty one


def test_many_small_files_come_in_sessions_that_fit_one_page():
    world = build(files=1_100, file_bytes=1_000)
    bulk = [each for each in world.datasets.values() if each.name.startswith("bulk.")]
    assert len(bulk) == 1_100
    assert Counter(Counter(each.session for each in bulk).values()) == {500: 2, 100: 1}
    assert all(len(each.content) == 1_000 + 128 for each in bulk)
    manifest = world.manifest()
    assert all(manifest[each.id].fate is Fate.PUBLISHED for each in bulk)


@pytest.mark.parametrize(
    ("path", "named"),
    [("a.b.npy", "a.b.ID.npy"), ("x.y/a.tar.gz", "x.y/a.tar.ID.gz"), ("x.y/noext", "x.y/noext.ID")],
)
def test_servers_put_the_uuid_before_the_last_suffix(path, named):
    assert with_uuid(path, "ID") == named


def test_a_new_dataset_is_later_than_all_others(world):
    world = build()
    session = next(iter(world.sessions.values()))
    added = world.add(session, "alf", "late.times.npy", b"late")
    changed = world.rewrite(world.odd("passed"), b"again")
    assert max(world.datasets.values(), key=lambda each: each.changed) == changed
    assert changed.changed > added.changed
    before = build().odd("passed")
    different = {each.name for each in fields(changed) if getattr(changed, each.name) != getattr(before, each.name)}
    assert different == {"content", "size", "hash", "changed"}
    assert world.manifest()[added.id].path == f"{session.lab}/Subjects/{session.path}/alf/late.times.npy"
