"""The catalogue from ONE's cache tables beside the one from REST: the same datasets, and hardly a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployments.sandbox import Lab
from tasks.preparing import prepare
from tasks.selection import Selection
from tasks.settings import AlyxSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tasks.model import Transfer
    from tasks.plan.planfile import Plan

#: The sandbox's repository that tables know nothing of.
MEMBERS = {"avoid_repositories": ["members_cortexlab"]}


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab(files=300, file_bytes=10) as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    for name, value in shared.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    shared.requests.clear()
    return shared


def planned(lab: Lab, catalogue: str, **fields: Any) -> Plan:
    return prepare(Selection(**fields), lab.root / "mirror", AlyxSettings(catalogue=catalogue))


def transfers(plan: Plan) -> dict[str, Transfer]:
    return {one.dataset: one for number in range(len(plan.batches)) for one in plan.transfers(number)}


@pytest.mark.parametrize(
    "fields",
    [
        {"everything": True},
        {"everything": True, "revision_rule": "all"},
        {"labs": ["cortexlab"]},
        {"subjects": ["KS005"], "names": ["spikes.*"], "revision_rule": "last_before", "revision": "2024-03-01"},
        {"dates": ["2019-05-01..2019-05-31"], "collections": ["alf/*"], "qc_at_most": "PASS"},
        {"projects": ["sandbox_brain_wide"], "numbers": [2], "max_size": "20 kB"},
        {"task_protocol": "EPHYSchoice", "names": [r".*\.(npy|csv)"], "regex": True},
    ],
)
def test_the_tables_mean_what_rest_means(lab: Lab, fields: dict[str, Any]) -> None:
    by_tables, by_rest = (planned(lab, catalogue, **fields, **MEMBERS) for catalogue in ("tables", "rest"))
    assert by_tables.catalogue.startswith("ONE's cache tables of http://127.0.0.1")
    assert "made 20" in by_tables.catalogue
    assert by_rest.catalogue == f"REST of {lab.urls['alyx']}"
    ours, theirs = transfers(by_tables), transfers(by_rest)
    assert ours.keys() == theirs.keys() != set()
    for one in ours.values():
        other = theirs[one.dataset]
        assert (one.path, one.size, one.digest, one.session) == (other.path, other.size, other.digest, other.session)
        assert set(one.sources) >= set(other.sources)


def test_no_request_a_dataset(lab: Lab) -> None:
    plan = planned(lab, "tables", labs=["cortexlab", "churchlandlab"], **MEMBERS)
    assert plan.fetch.files > 300
    assert lab.requests.count(server="alyx", path="/datasets") == 0
    assert lab.requests.count(server="alyx") < 8


def test_tables_are_kept_with_their_date_and_fetched_again_when_it_changes(lab: Lab) -> None:
    fields = {"labs": ["cortexlab"], **MEMBERS}
    before = planned(lab, "tables", **fields)
    planned(lab, "tables", **fields)
    assert lab.requests.count(server="alyx", path="/cache.zip") == 1
    of = next(one for one in lab.world.sessions.values() if one.lab == "cortexlab")
    fresh = lab.register(of, "alf", "fresh.times.npy", b"0123456789")
    after = planned(lab, "tables", **fields)
    assert lab.requests.count(server="alyx", path="/cache.zip") == 2
    assert transfers(after).keys() - transfers(before).keys() == {fresh.id}
    assert after.catalogue != before.catalogue


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"everything": True}, "do not know what lies on members_cortexlab"),
        ({"dataset_types": ["spikes.times"]}, "do not hold dataset types"),
        ({"public_only": True}, "which tags are public"),
        ({"tags": ["internal_only"]}, "none of the tag 'internal_only' alone"),
        ({"tags": ["internal_only", "2024_Q3_Sandbox_et_al"]}, "not of several together"),
        ({"session_ids": [""]}, "named by id"),
        ({"dataset_ids": [""]}, "named by id"),
    ],
)
def test_what_tables_cannot_answer_goes_to_rest_and_the_plan_says_so(lab: Lab, fields: Any, why: str) -> None:
    some = {"session_ids": [next(iter(lab.world.sessions))], "dataset_ids": [next(iter(lab.world.datasets))]}
    fields = {name: some[name] if value == [""] else value for name, value in fields.items()}
    more = {} if "everything" in fields else MEMBERS
    plan = planned(lab, "tables", **fields, **more)
    assert plan.catalogue.startswith(f"REST of {lab.urls['alyx']} (")
    assert why in plan.catalogue
    assert plan.fetch.files == planned(lab, "rest", **fields, **more).fetch.files


def test_a_small_selection_is_left_to_rest(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the selection is small" in planned(lab, "auto", labs=["cortexlab"], **MEMBERS).catalogue
    monkeypatch.setattr("tasks.datasets.listing._MANY", 3)
    assert "cache tables" in planned(lab, "auto", labs=["cortexlab"], **MEMBERS).catalogue
    assert "is small" in planned(lab, "auto", session_ids=[next(iter(lab.world.sessions))]).catalogue


def test_without_pyarrow_rest_serves(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.datasets.listing.find_spec", lambda _: None)
    assert "pip install prefect-alyx[tables]" in planned(lab, "tables", labs=["cortexlab"]).catalogue
