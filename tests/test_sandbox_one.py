"""ONE itself, unmodified, against the sandbox: it sees an Alyx, a file server and S3 as it knows them."""

from pathlib import Path

import pytest
import requests

from deployments.sandbox import Lab
from deployments.sandbox.model import digest

api = pytest.importorskip("one.api")
aws = pytest.importorskip("one.remote.aws")


@pytest.fixture(scope="module")
def lab():
    with Lab() as lab, pytest.MonkeyPatch.context() as patch:
        for name, value in lab.environment("http").items():
            patch.setenv(name, value)
        yield lab


@pytest.fixture(scope="module")
def one(lab):
    return api.ONE(base_url=lab.urls["alyx"], silent=True, cache_rest=None)


def paths(lab, eid):
    session = lab.world.sessions[str(eid)]
    return {
        each.path.partition(session.path + "/")[2] for each in lab.world.datasets.values() if each.session == str(eid)
    }


def kind(lab, name):
    dataset = lab.world.odd(name)
    return dataset, dataset.session, dataset.path.partition("/001/")[2] or dataset.path.partition("/002/")[2]


def test_it_logs_in_from_its_own_files(lab, one):
    assert len(one.alyx.rest("labs", "list")) == 2
    assert one.alyx.user == "alice"
    assert Path(one.cache_dir).is_relative_to(lab.root)
    assert lab.requests.count(server="alyx", path="/auth-token", status=200) == 1


def test_it_knows_the_endpoints(one):
    assert {"datasets", "sessions", "files", "data-repository", "labs"} <= set(one.alyx.rest_schemes.endpoints)
    assert "datasets" in one.search_terms(query_type="remote")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, 6),
        ({"subject": "KS005"}, 2),
        ({"lab": "churchlandlab"}, 3),
        ({"date_range": ["2019-04-01", "2019-04-02"]}, 2),
        ({"datasets": "licks.raw.npy"}, 1),
        ({"dataset_types": ["spikes.times", "camera.raw"]}, 5),
    ],
)
def test_it_searches(one, query, found):
    assert len(one.search(**query)) == found


def test_it_lists_what_a_session_has(lab, one):
    hidden = {"no-records", "nowhere", "only-laptop", "critical", "unicode"}  # the last two by ONE's own choice
    left_out = {kind(lab, name)[2] for name in hidden}
    for eid in one.search():
        assert paths(lab, eid) - set(one.list_datasets(eid)) <= left_out


def test_it_downloads_from_s3_where_the_bucket_of_its_choice_has_the_file(lab, one):
    dataset, eid, path = kind(lab, "http-absent")
    file = one.load_dataset(eid, path, download_only=True)
    assert file.read_bytes() == dataset.content
    assert file == Path(one.cache_dir, dataset.path)
    assert lab.requests.sent(server="s3", status=200) == len(dataset.content)


@pytest.mark.parametrize("name", ["dashes", "sha1", "zero-byte"])
def test_it_downloads_over_http_where_that_bucket_has_not(lab, one, name):
    dataset, eid, path = kind(lab, name)
    file = one.load_dataset(eid, path, download_only=True)
    assert file.read_bytes() == dataset.content
    assert file == Path(one.cache_dir, dataset.path)


def test_it_loads_arrays_and_takes_the_default_revision(lab, one):
    (eid,) = one.search(date_range=["2019-04-01", "2019-04-01"])
    file = one.load_dataset(eid, "spikes.times.npy", collection="alf/probe00", download_only=True)
    assert "#2024-06-15#" in str(file)
    old = one.load_dataset(eid, "spikes.times.npy", collection="alf/probe00", revision="2024-01-01", download_only=True)
    assert "#2024-01-01#" in str(old)
    assert one.load_dataset(eid, "alf/_ibl_wheel.timestamps.npy").shape == (10_000,)


def test_it_believes_the_wrong_digest_without_a_word(lab, one):
    dataset, eid, path = kind(lab, "wrong-digest")
    file = one.load_dataset(eid, path, download_only=True)
    assert digest(file.read_bytes()) != dataset.hash


def test_it_finds_aggregates(lab, one):
    dataset = lab.world.odd("aggregate")
    file = one.load_aggregate("subjects", "cortexlab/KS005", "_ibl_subjectTrials.table", download_only=True)
    assert file == Path(one.cache_dir, dataset.path)
    assert file.read_bytes() == dataset.content


def test_its_own_paging_loses_rows(lab, one):
    rows = list(one.alyx.rest("datasets", "list", limit=7))
    assert len(rows) == 60
    assert len({row["url"] for row in rows}) < 60


def test_it_opens_both_buckets_with_the_keys_of_alyx(lab, one, tmp_path):
    for repository, files in (("aws_cortexlab", 31), ("aws_churchlandlab", 22)):
        s3, bucket = aws.get_s3_from_alyx(one.alyx, repository)
        assert len(list(s3.Bucket(bucket).objects.filter(Prefix="data/"))) == files


def test_it_reads_the_cache_tables(lab, one):
    one.load_cache(clobber=True)
    try:
        assert len(one._cache.datasets) == 55
        assert len(one.search(subject="KS014", query_type="local")) == 1
    finally:
        one.mode = "remote"


def test_it_refuses_a_token_that_has_ended_and_logs_in_again(lab, one):
    lab.alyx.accounts.invalidate()
    assert len(one.alyx.rest("labs", "list")) == 2
    assert lab.requests.count(server="alyx", path="/labs", status=403) == 1


def test_it_waits_when_asked_to(lab, one, monkeypatch):
    waits = []
    monkeypatch.setattr("one.webclient.sleep", waits.append)
    lab.alyx.throttle.refuse(1, wait=7)
    assert len(one.alyx.rest("labs", "list")) == 2
    assert [int(each) for each in waits] == [7]


def test_it_gets_what_only_members_may_have(lab, monkeypatch):
    for name, value in lab.environment("members").items():
        monkeypatch.setenv(name, value)
    api.ONE.cache_clear()  # it remembers the last instance
    one = api.ONE(base_url=lab.urls["alyx"], silent=True, cache_rest=None)
    dataset, eid, path = kind(lab, "members")
    assert one.load_dataset(eid, path, download_only=True).read_bytes() == dataset.content
    assert lab.requests.count(server="members", status=401) == 1  # urllib shows its password only when asked
    monkeypatch.setitem(lab.members, "iblmember", "changed")
    url = one.alyx.rest("datasets", "read", id=dataset.id)["file_records"][0]["data_url"]
    assert requests.get(url, timeout=5).status_code == 401
