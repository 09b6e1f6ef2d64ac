"""What Alyx is told, and that it is told nothing unless somebody asks for it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from deployments.sandbox import Lab
from tasks.alyx import AlyxClient
from tasks.model import State
from tasks.settings import AlyxSettings
from tasks.telling.alyx import SIGHTINGS, tell_alyx
from tests.mirror import Mirrored, mirror

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT, FLAG = AlyxSettings(count_downloads=True), AlyxSettings(flag_mismatches=True)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with Lab() as lab:
        for name, value in lab.environment().items():
            monkeypatch.setenv(name, value)
        yield lab


def told(done: Mirrored, settings: AlyxSettings) -> list[str]:
    return tell_alyx(done.outcomes.values(), done.run.mismatched, done.run.tree, settings)


def flags(lab: Lab, dataset: str) -> dict[str, Any]:
    records = lab.world.datasets[dataset].records
    return {record.repository: record.json for record in records if record.json}


def wrong(lab: Lab, root: Path, *avoid: str) -> Mirrored:
    """Try the dataset whose servers hold other bytes than Alyx registers."""
    ids = [lab.world.odd("wrong-digest").id]
    return mirror(root, rest=timedelta(), dataset_ids=ids, avoid_repositories=list(avoid))


def test_nothing_is_told_by_default(lab: Lab, tmp_path: Path) -> None:
    done = wrong(lab, tmp_path, "aws_cortexlab")
    before = lab.requests.count(server="alyx")
    assert told(done, AlyxSettings()) == []
    assert lab.requests.count(server="alyx") == before
    assert not (tmp_path / ".prefect-alyx" / SIGHTINGS).exists()


def test_downloads_are_counted_once_they_are_published(lab: Lab, tmp_path: Path) -> None:
    done = mirror(tmp_path, subjects=["KS014"])
    published = {one.dataset for one in done.outcomes.values() if one.state is State.PUBLISHED}
    assert told(done, COUNT) == []
    assert {dataset for _, dataset in lab.alyx.downloads} == published != set()
    assert set(lab.alyx.downloads.values()) == {1}
    assert lab.requests.count(server="alyx", path="/new-download") == 1
    again = mirror(tmp_path, subjects=["KS014"])
    assert told(again, COUNT) == []
    assert set(lab.alyx.downloads.values()) == {1}


def test_a_record_is_flagged_once_one_source_gave_the_same_wrong_bytes_twice(lab: Lab, tmp_path: Path) -> None:
    dataset = lab.world.odd("wrong-digest")
    done = wrong(lab, tmp_path, "aws_cortexlab")
    digest = hashlib.md5(dataset.content, usedforsecurity=False).hexdigest()
    assert done.outcomes[dataset.id].wrong == (("flatiron_cortexlab", digest),) * 2
    (remark,) = told(done, FLAG)
    assert f"flatiron_cortexlab has other bytes of dataset {dataset.id}" in remark
    assert flags(lab, dataset.id) == {"flatiron_cortexlab": {"mismatch_hash": True}}
    assert told(done, FLAG) == []


def test_once_from_each_of_two_sources_is_not_enough_but_a_second_run_is(lab: Lab, tmp_path: Path) -> None:
    dataset = lab.world.odd("wrong-digest").id
    done = wrong(lab, tmp_path)
    assert [repository for repository, _ in done.outcomes[dataset].wrong] == ["aws_cortexlab", "flatiron_cortexlab"]
    assert told(done, FLAG) == []
    assert flags(lab, dataset) == {}
    assert len(told(wrong(lab, tmp_path), FLAG)) == 2
    assert flags(lab, dataset).keys() == {"aws_cortexlab", "flatiron_cortexlab"}


def test_other_wrong_bytes_each_time_are_the_lines_fault(lab: Lab, tmp_path: Path) -> None:
    done = wrong(lab, tmp_path, "aws_cortexlab")
    (outcome,) = done.run.mismatched
    done.run.mismatched[:] = [outcome._replace(wrong=(("flatiron_cortexlab", "a"), ("flatiron_cortexlab", "b")))]
    assert told(done, FLAG) == []
    assert flags(lab, outcome.dataset) == {}


def test_what_a_record_holds_already_stays(lab: Lab, tmp_path: Path) -> None:
    done = wrong(lab, tmp_path, "aws_cortexlab")
    dataset = lab.world.odd("wrong-digest").id
    alyx = AlyxClient()
    (record,) = alyx.rest("files", "list", dataset=dataset, data_repository="flatiron_cortexlab")
    alyx.rest("files", "partial_update", id=record["url"][-36:], data={"json": {"transfer_pending": False}})
    told(done, FLAG)
    assert flags(lab, dataset)["flatiron_cortexlab"] == {"transfer_pending": False, "mismatch_hash": True}


def test_half_a_line_of_a_run_that_was_killed_is_no_trouble(lab: Lab, tmp_path: Path) -> None:
    done = wrong(lab, tmp_path, "aws_cortexlab")
    (tmp_path / ".prefect-alyx" / SIGHTINGS).write_text('["0b305d2f", "flat')
    assert len(told(done, FLAG)) == 1


def test_who_may_not_write_is_told_so_and_the_run_stands(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = wrong(lab, tmp_path, "aws_cortexlab")
    monkeypatch.setenv("ALYX_LOGIN", "intbrainlab")
    monkeypatch.setenv("ALYX_PASSWORD", lab.users["intbrainlab"])
    (remark,) = told(done, FLAG)
    assert remark.startswith("Alyx could not be told of this run.")
    assert "403" in remark or "permission" in remark


def test_a_web_page_in_the_way_says_nothing_of_the_file(lab: Lab, tmp_path: Path) -> None:
    dataset = lab.world.odd("wrong-digest")
    for path in lab.paths(dataset, ("http",)):
        path.write_bytes(b"<!DOCTYPE html><html><body>Please log in</body></html>")
    done = wrong(lab, tmp_path, "aws_cortexlab")
    assert done.outcomes[dataset.id].state is State.FAILED
    assert done.outcomes[dataset.id].wrong == ()
