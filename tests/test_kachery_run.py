"""kachery as the fourth protocol of a run: Alyx, plan and download in the sandbox's lab, a gateway beside it."""

from dataclasses import replace

import pytest
from pace import FakePace

from deployments.sandbox import Lab
from deployments.sandbox.faults import Flip
from deployments.sandbox.kachery import Gateway
from deployments.sandbox.model import Record, Repository, State
from tasks.alyx import AlyxClient
from tasks.catalogue import repositories
from tasks.datasets.file_records import with_kachery
from tasks.downloading import Run, download
from tasks.model import Dataset, FileRecord
from tasks.preparing import prepare
from tasks.selection import Selection
from tasks.settings import AlyxSettings


@pytest.fixture(scope="module")
def running():
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(running, monkeypatch):
    running.reset()
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    for name in ("ZONE", "API_KEY", "BASE_URL", "GATEWAY_URL", "DIR", "CLOUD_DIR", "CLOUD_PRIVATE_KEY"):
        monkeypatch.delenv(f"KACHERY_{name}", raising=False)
    return running


@pytest.fixture
def gateway(lab):
    with Gateway() as running:
        running.put("default", lab.world.odd("sha1").content)
        yield running


def change(lab, kind, **fields):
    """Alter what Alyx says of a dataset, and return it."""
    changed = replace(lab.world.odd(kind), **fields)
    lab.world.datasets[changed.id] = changed
    return changed


def run(root, *datasets, protocols=("aws", "http", "globus", "kachery")):
    """Plan and download; return skips and outcomes, each by dataset."""
    ids = [dataset.id for dataset in datasets]
    plan = prepare(Selection.read({"dataset_ids": ids, "protocols": list(protocols)}), root, AlyxSettings())
    part = Run.open("run", root, repositories(AlyxClient()), AlyxSettings(), FakePace())
    transfers = [transfer for batch in range(len(plan.batches)) for transfer in plan.transfers(batch)]
    outcomes = {outcome.dataset: outcome for outcome in download(part, transfers)}
    assert not part.stopped
    part.ledger.close()
    return {skip.dataset: skip.reason for skip in plan.skips()}, outcomes


def test_a_dataset_that_only_kachery_has_is_found_by_its_sha1(lab, gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("KACHERY_BASE_URL", gateway.url)
    dataset = change(lab, "sha1", records=())
    skips, outcomes = run(tmp_path, dataset)
    assert skips == {}
    said = outcomes[dataset.id].to_json()
    assert (said["state"], said["protocol"], said["source"]) == ("published", "kachary", "kachery")
    assert (tmp_path / dataset.path).read_bytes() == dataset.content


def test_a_repository_names_the_zone_and_an_md5_is_skipped_with_the_reason(lab, gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("KACHERY_BASE_URL", gateway.url)
    zoned = Repository("kachery_lab", "churchlandlab", "globus", "/", json={"kachery_zone": "lab"})
    lab.world.repositories[zoned.name] = zoned
    dataset = lab.world.odd("sha1")
    dataset = change(lab, "sha1", records=(Record(zoned.name, dataset.records[0].relative_path),))
    gateway.put("lab", dataset.content)
    md5 = change(lab, "only-http", records=(Record(zoned.name, "s/a.npy"),))
    skips, outcomes = run(tmp_path, dataset, md5)
    assert (outcomes[dataset.id].source, outcomes[dataset.id].verified) == ("kachery_lab", "sha1")
    assert list(skips) == [md5.id]
    assert "is an md5" in skips[md5.id]


def test_a_file_record_names_the_address_even_of_an_md5(lab, gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("KACHERY_BASE_URL", gateway.url)
    dataset = lab.world.odd("only-http")
    uri = f"kachery:lab:sha1:{gateway.put('lab', dataset.content)}:a.npy"
    (record,) = dataset.records
    named = replace(record, state=State.LOST, json={"kachery_uri": uri})
    dataset = change(lab, "only-http", records=(named,))
    lab.stores.fill(lab.world)
    _, outcomes = run(tmp_path, dataset)
    said = outcomes[dataset.id]
    assert (said.state, said.protocol, said.source, said.verified) == (
        "published",
        "kachary",
        record.repository,
        "md5",
    )
    assert (tmp_path / dataset.path).read_bytes() == dataset.content


def files_asked(lab):
    return lab.requests.count(path="/files")


def test_records_are_asked_for_in_batches_and_only_where_kachery_is_wanted(lab, gateway, tmp_path, monkeypatch):
    everything = Selection.read({"everything": True, "revision_rule": "all"})
    before = files_asked(lab)
    prepare(everything, tmp_path, AlyxSettings())
    assert files_asked(lab) == before  # kachery is not set up
    monkeypatch.setenv("KACHERY_BASE_URL", gateway.url)
    prepare(everything.model_copy(update={"protocols": ["http"]}), tmp_path, AlyxSettings())
    assert files_asked(lab) == before  # nor wanted
    prepare(everything, tmp_path, AlyxSettings())
    assert files_asked(lab) == before + 1  # no record has a json
    record = lab.world.odd("only-http").records[0]
    change(lab, "only-http", records=(replace(record, json={"mismatch_hash": True}),))
    monkeypatch.setattr("tasks.datasets.file_records.MOST_IDS", 20)
    plan = prepare(everything, tmp_path, AlyxSettings())
    assert files_asked(lab) == before + 1 + 1 + 3  # 60 datasets are three batches
    assert plan.fetch.files + plan.skipped == 60


def test_a_record_that_the_cache_tables_do_not_know_is_added(lab):
    (record,) = lab.world.odd("only-http").records
    named = replace(record, json={"kachery_uri": f"kachery:lab:sha1:{'0' * 40}"})
    dataset = change(lab, "only-http", records=(named,))
    known = FileRecord("flatiron_elsewhere", record.relative_path, None)
    in_tables = Dataset(dataset.id, None, None, dataset.path, dataset.size, dataset.hash, records=(known,))
    (found,) = with_kachery([in_tables], AlyxClient())
    assert found.records == (known, FileRecord(record.repository, record.relative_path, True, named.json))


def test_what_the_servers_lost_comes_from_kachery(lab, gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("KACHERY_BASE_URL", gateway.url)
    dataset = lab.world.odd("sha1")
    lost = tuple(Record(each.repository, each.relative_path, State.LOST) for each in dataset.records)
    dataset = change(lab, "sha1", records=lost)
    lab.stores.fill(lab.world)
    _, outcomes = run(tmp_path, dataset)
    assert (outcomes[dataset.id].state, outcomes[dataset.id].protocol) == ("published", "kachary")
    assert (tmp_path / dataset.path).read_bytes() == dataset.content


def test_precedence_may_put_kachery_first_and_a_corrupt_object_there_costs_nothing_but_time(
    lab, gateway, tmp_path, monkeypatch
):
    monkeypatch.setenv("KACHERY_BASE_URL", gateway.url)
    dataset = lab.world.odd("sha1")
    _, outcomes = run(tmp_path / "good", dataset, protocols=("kachary", "http"))
    assert outcomes[dataset.id].protocol == "kachary"
    gateway.put("default", dataset.content, [Flip()])
    _, outcomes = run(tmp_path / "corrupt", dataset, protocols=("kachery", "http"))
    assert (outcomes[dataset.id].state, outcomes[dataset.id].protocol) == ("published", "http")
    assert (tmp_path / "corrupt" / dataset.path).read_bytes() == dataset.content


def test_where_nobody_set_kachery_up_it_is_skipped_with_the_reason_and_not_asked(lab, gateway, tmp_path):
    dataset, other = change(lab, "sha1", records=()), lab.world.odd("only-http")
    skips, outcomes = run(tmp_path, dataset, other)
    assert list(skips) == [dataset.id]
    assert "kachary is not configured" in skips[dataset.id]
    assert {outcome.state for outcome in outcomes.values()} == {"published"}
    assert gateway.hits() == []
