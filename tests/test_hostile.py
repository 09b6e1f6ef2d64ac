"""Hostile records, from Alyx to disk: refused with a reason, nothing outside the root is touched, the rest goes on."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deployments.sandbox import Lab
from deployments.sandbox.model import Record
from tasks.model import State
from tests.mirror import mirror

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployments.sandbox.model import Dataset

KS014 = {"subjects": ["KS014"], "names": ["*.npy", "evil*", "*.csv"]}
#: What is fetched of these whatever happens: the rest that goes on.
REST = 4

HOSTILE = {
    "KS014/2020-11-10/002/../../../../../../evil.npy": "empty part, or . or ..",
    "../../../etc/evil.npy": "empty part, or . or ..",
    "KS014/./2020-11-10/evil.npy": "empty part, or . or ..",
    "/etc/evil.npy": "empty part, or . or ..",
    "C:\\Windows\\evil.npy": "a backslash or a colon",
    "KS014\\..\\evil.npy": "a backslash or a colon",
    "C:/Windows/evil.npy": "a backslash or a colon",
    "KS014/2020-11-10/002/con.npy": "device on Windows",
    "KS014/2020-11-10/002/evil.npy ": "ends in a dot or a space",
    "KS014/2020-11-10/\x00/evil.npy": "not printable",
    "KS014/2020-11-10/002/alf\n/evil.npy": "not printable",
    "KS014/" + "e" * 256 + ".npy": "more than 255 bytes",
}


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with Lab() as lab:
        for name, value in lab.environment().items():
            monkeypatch.setenv(name, value)
        yield lab


def session_of(lab: Lab) -> str:
    return next(one.id for one in lab.world.sessions.values() if one.subject == "KS014")


def plant(lab: Lab, number: int, relative: str) -> Dataset:
    """Register a dataset, and then say that its file lies somewhere else."""
    of = lab.world.sessions[session_of(lab)]
    made = lab.register(of, "alf", f"evil{number}.times.npy", b"evil" * 100)
    records = tuple(Record(record.repository, relative) for record in made.records)
    lab.world.datasets[made.id] = replace(made, records=records)
    return made


def outside(root: Path) -> set[Path]:
    """Everything around the root, but not below it."""
    return {path for path in root.parent.rglob("*") if not path.is_relative_to(root)}


def good(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*.npy") if ".prefect-alyx" not in path.parts}


def test_paths_that_leave_the_root_are_refused_and_the_rest_goes_on(lab: Lab, tmp_path: Path) -> None:
    root = tmp_path / "deep" / "root"
    planted = {
        plant(lab, number, relative).id: why for number, (relative, why) in enumerate(HOSTILE.items()) if relative
    }
    before = outside(root)
    done = mirror(root, **KS014)
    for dataset, why in planted.items():
        assert why in done.skips[dataset].reason, done.skips[dataset]
        assert dataset not in done.outcomes
    published = [one for one in done.outcomes.values() if one.state is State.PUBLISHED]
    assert len(published) == REST
    assert not any("evil" in name for name in good(root))
    assert outside(root) - before <= {root.parent, root}


def test_a_symlink_that_is_planted_under_the_root_is_not_followed(lab: Lab, tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (root / "cortexlab/Subjects/KS014/2020-11-10/002").mkdir(parents=True)
    (root / "cortexlab/Subjects/KS014/2020-11-10/002/alf").symlink_to(elsewhere)
    done = mirror(root, subjects=["KS014"])
    behind = {one.path: one for one in done.outcomes.values() if "/alf/" in one.path}
    assert len(behind) > 4
    for one in behind.values():
        assert one.state is State.FAILED
        assert one.code in ("bad-path", "digest-mismatch")
    assert any("symlink" in one.reason for one in behind.values())
    assert list(elsewhere.iterdir()) == []
    rest = [one for path, one in ((one.path, one) for one in done.outcomes.values()) if path not in behind]
    assert {one.state for one in rest} == {State.PUBLISHED}


def test_a_symlink_in_the_place_of_a_file_is_refused_and_its_target_stays(lab: Lab, tmp_path: Path) -> None:
    root, precious = tmp_path / "root", tmp_path / "precious.npy"
    precious.write_bytes(b"precious")
    place = root / "cortexlab/Subjects/KS014/2020-11-10/002/alf/licks.times.npy"
    place.parent.mkdir(parents=True)
    place.symlink_to(precious)
    (outcome,) = mirror(root, subjects=["KS014"], names=["licks.times.npy"]).outcomes.values()
    assert (outcome.state, outcome.code) == (State.FAILED, "target")
    assert "licks.times.npy" in outcome.reason
    assert precious.read_bytes() == b"precious"
    assert place.is_symlink()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("evil.times.npy", "Evil.times.npy"),
        (unicodedata.normalize("NFC", "evilé.times.npy"), unicodedata.normalize("NFD", "evilé.times.npy")),
    ],
)
def test_names_that_are_one_name_elsewhere_are_both_refused(lab: Lab, tmp_path: Path, one: str, other: str) -> None:
    of = lab.world.sessions[session_of(lab)]
    rivals = {lab.register(of, "alf", name, name.encode() * 50).id for name in (one, other)}
    done = mirror(tmp_path / "root", **{**KS014, "names": ["*.npy", "*.csv"]})
    assert rivals <= done.skips.keys()
    for rival in rivals:
        assert "differs only in case or Unicode form" in done.skips[rival].reason
    assert not any("evil" in name.lower() for name in good(tmp_path / "root"))
    assert sum(each.state is State.PUBLISHED for each in done.outcomes.values()) == REST


def test_two_datasets_with_one_path_are_both_refused(lab: Lab, tmp_path: Path) -> None:
    of = lab.world.sessions[session_of(lab)]
    one, other = (lab.register(of, "alf", f"evil{n}.times.npy", b"x" * 200 + bytes([n])) for n in (1, 2))
    lab.world.datasets[other.id] = replace(other, records=one.records)
    done = mirror(tmp_path, **KS014)
    assert "2 datasets claim the same local path" in done.skips[one.id].reason
    assert done.skips[one.id].reason == done.skips[other.id].reason


def test_hostile_repositories_are_refused_with_a_reason(lab: Lab, tmp_path: Path) -> None:
    """A record on a repository that Alyx does not list is no source."""
    made = plant(lab, 99, "KS014/2020-11-10/002/alf/evil99.times.npy")
    lab.world.repositories["stray"] = replace(
        lab.world.repositories["flatiron_cortexlab"], name="stray", server="globus"
    )
    records = (Record("stray", made.records[0].relative_path),)
    lab.world.datasets[made.id] = replace(made, records=records)
    done = mirror(tmp_path, **KS014)
    assert "stray" in done.skips[made.id].reason
