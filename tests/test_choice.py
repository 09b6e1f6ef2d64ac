"""Filters and the rule about revisions: a table of cases, against ONE where ONE has an opinion."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from one.util import filter_revision_last_before

from tasks.datasets.choice import Candidate, chosen
from tasks.model import Dataset
from tasks.selection import Selection

if TYPE_CHECKING:
    from tasks.model import Skip


def candidate(
    name: str = "spikes.times.npy", revision: str = "", *, session: str | None = "s", size: int | None = 10, **more: Any
) -> Candidate:
    collection = more.setdefault("collection", "alf")
    identifier = f"{session}/{collection}/{revision}/{name}"
    dataset = Dataset(identifier, session, "lab", f"lab/{identifier}", size, "", revision)
    return Candidate(dataset, name, **more)


def picked(candidates: list[Candidate], **fields: Any) -> list[str]:
    return [dataset.revision for dataset in chosen([candidates], Selection(everything=True, **fields))]


def names(candidates: list[Candidate], **fields: Any) -> list[str]:
    return [dataset.id.rpartition("/")[2] for dataset in chosen([candidates], Selection(everything=True, **fields))]


def three(*default: str) -> list[Candidate]:
    """One dataset in three revisions, newest first."""
    return [candidate(revision=name, default=name in default) for name in ("2024-06-15", "2024-01-01", "")]


@pytest.mark.parametrize(
    ("candidates", "fields", "revisions"),
    [
        (three("2024-01-01"), {}, ["2024-01-01"]),
        (three(""), {}, [""]),
        (three(), {}, ["2024-06-15"]),
        (three("", "2024-01-01"), {}, []),
        ([candidate(revision="2024-01-01", default=False)], {}, ["2024-01-01"]),
        (three(""), {"revision_rule": "all"}, ["2024-06-15", "2024-01-01", ""]),
        (three(""), {"revision_rule": "exact", "revision": "2024-01-01"}, ["2024-01-01"]),
        (three(""), {"revision_rule": "exact", "revision": "2024-01-02"}, []),
        (three(""), {"revision_rule": "last_before", "revision": "2024-01-01"}, ["2024-01-01"]),
        (three(""), {"revision_rule": "last_before", "revision": "2024-03-01"}, ["2024-01-01"]),
        (three(""), {"revision_rule": "last_before", "revision": "2025-01-01"}, ["2024-06-15"]),
        (three(""), {"revision_rule": "last_before", "revision": "2023-01-01"}, [""]),
        (three("")[:2], {"revision_rule": "last_before", "revision": "2023-01-01"}, []),
        (three(""), {"dataset_ids": ["0b305d2f-04dc-4ef1-be1c-db18931391a1"]}, ["2024-06-15", "2024-01-01", ""]),
    ],
)
def test_one_revision_by_rule(candidates: list[Candidate], fields: dict[str, Any], revisions: list[str]) -> None:
    assert picked(candidates, **fields) == revisions


@pytest.mark.parametrize("revision", ["2023-01-01", "2024-01-01", "2024-01-01a", "2024-03-01", "2030", "a", "0"])
@pytest.mark.filterwarnings("ignore")
def test_last_before_is_ones(revision: str) -> None:
    revisions = ["2024-06-15", "2024-01-01", "", "beta", "2024-01-01a"]
    table = pd.DataFrame({"rel_path": [f"alf/#{name}#/a.b.npy" if name else "alf/a.b.npy" for name in revisions]})
    theirs = filter_revision_last_before(table, revision=revision)["revision"].tolist()
    ours = picked([candidate(revision=name) for name in revisions], revision_rule="last_before", revision=revision)
    assert ours == theirs


@pytest.mark.parametrize(
    ("candidates", "fields", "reason"),
    [
        (three("", "2024-01-01"), {}, "several revisions as the default one: none, 2024-01-01"),
        (three(""), {"revision_rule": "exact", "revision": "x"}, "no revision 'x', only none, 2024-01-01, 2024-06-15"),
        (three("")[:1], {"revision_rule": "last_before", "revision": "2023"}, "newer than '2023': 2024-06-15"),
    ],
)
def test_a_dataset_without_a_fitting_revision_is_told(
    candidates: list[Candidate], fields: dict[str, Any], reason: str
) -> None:
    told: list[Skip] = []
    assert list(chosen([candidates], Selection(everything=True, **fields), told.append)) == []
    assert len(told) == 1
    assert told[0].dataset == candidates[0].dataset.id
    assert told[0].path == candidates[0].dataset.path
    assert reason in told[0].reason


def test_a_filter_that_does_not_match_is_not_told() -> None:
    told: list[Skip] = []
    assert list(chosen([three("")], Selection(names=["other"]), told.append)) == told == []


def test_sessions_and_collections_are_kept_apart() -> None:
    candidates = [candidate(session="a"), candidate(session="b"), candidate(session=None), candidate(collection="raw")]
    assert len(picked(candidates)) == 4


def test_a_mixture_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    parts = [candidate("spikes.times.npy", "2024-01-01"), candidate("spikes.amps.npy"), candidate("trials.table.pqt")]
    assert len(picked(parts)) == 3
    assert "different revisions: 1, the first is alf/spikes of session s: none, 2024-01-01" in caplog.text
    assert "trials" not in caplog.text


FILES = [
    candidate("spikes.times.npy", collection="alf/probe00"),
    candidate("spikes.amps.npy", collection="alf/probe00/ks2"),
    candidate("_ibl_trials.table.pqt", collection="alf"),
    candidate("Spikes.raw.bin", collection=""),
]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"names": ["spikes.*"]}, "spikes.times.npy spikes.amps.npy"),
        ({"names": ["spikes.times"]}, ""),
        ({"names": ["*.npy", "*.pqt"]}, "spikes.times.npy spikes.amps.npy _ibl_trials.table.pqt"),
        ({"names": ["spikes.????.*"]}, "spikes.amps.npy"),
        ({"names": [r"spikes\.\w+\.npy"], "regex": True}, "spikes.times.npy spikes.amps.npy"),
        ({"names": ["spikes"], "regex": True}, ""),
        ({"names": ["a|spikes.*"], "regex": True}, "spikes.times.npy spikes.amps.npy"),
        ({"collections": ["alf"]}, "_ibl_trials.table.pqt"),
        ({"collections": ["alf/*"]}, "spikes.times.npy spikes.amps.npy"),
        ({"collections": ["alf/probe00"]}, "spikes.times.npy"),
        ({"collections": [""]}, "Spikes.raw.bin"),
        ({"collections": ["alf*"], "names": ["*.pqt"]}, "_ibl_trials.table.pqt"),
    ],
)
def test_names_and_collections(fields: dict[str, Any], found: str) -> None:
    assert names(FILES, **fields) == found.split()


QUALITIES = [candidate(f"{qc}.a.npy", qc=qc) for qc in ("NOT_SET", "PASS", "WARNING", "FAIL", "CRITICAL", "NEW")]


@pytest.mark.parametrize(
    ("worst", "count"), [("NOT_SET", 1), ("PASS", 2), ("WARNING", 3), ("FAIL", 4), ("CRITICAL", 5)]
)
def test_quality(worst: str, count: int) -> None:
    assert names(QUALITIES, qc_at_most=worst) == [one.name for one in QUALITIES[:count]]


def test_size() -> None:
    sizes = [
        candidate("a.a", size=10),
        candidate("b.b", size=11),
        candidate("c.c", size=None),
        candidate("d.d", size=0),
    ]
    assert names(sizes, max_size=10) == ["a.a", "c.c", "d.d"]


def test_type_tag_and_public() -> None:
    parts = [
        candidate("a.a", dataset_type="t", tags=("x", "y"), public=True),
        candidate("b.b", dataset_type="u", tags=("z",)),
        candidate("c.c"),
    ]
    assert names(parts, dataset_types=["t", "u"]) == ["a.a", "b.b"]
    assert names(parts, tags=["y", "q"]) == ["a.a"]
    assert names(parts, public_only=True) == ["a.a"]


def test_a_release_is_what_was_tagged_then() -> None:
    """A tag is on one revision; that a newer one is the default today does not change what the release holds."""
    old, new = candidate(revision="2022", default=False, tags=("release",)), candidate(revision="2024", default=True)
    assert picked([old, new], tags=["release"]) == ["2022"]


def test_quality_never_picks_another_revision() -> None:
    bad, old = candidate(revision="2024", default=True, qc="FAIL"), candidate(revision="", default=False, qc="PASS")
    assert picked([bad, old], qc_at_most="PASS") == []
