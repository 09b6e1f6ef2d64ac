"""A table of selections and the datasets that they mean in the sandbox's two labs, each case worked out by hand.

S1 is KS005 of 2019-04-01, S2 KS005 of 2019-04-02, S3 KS014,
S4 to S6 CSHL_003 of May 7, 8 and 9 of 2019 (S6 is empty). What all of S1 to S5 have is called ALF, PROBE, RAW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployments.sandbox import Lab
from tasks.alyx import AlyxClient
from tasks.catalogue import datasets
from tasks.preparing import prepare
from tasks.selection import Selection
from tasks.settings import AlyxSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SESSIONS = {
    "S1": "cortexlab/Subjects/KS005/2019-04-01/001",
    "S2": "cortexlab/Subjects/KS005/2019-04-02/001",
    "S3": "cortexlab/Subjects/KS014/2020-11-10/002",
    "S4": "churchlandlab/Subjects/CSHL_003/2019-05-07/001",
    "S5": "churchlandlab/Subjects/CSHL_003/2019-05-08/001",
}
TABLE, POSITION, STAMPS, LICKS = (
    f"alf/{name}"
    for name in ("_ibl_trials.table.pqt", "_ibl_wheel.position.npy", "_ibl_wheel.timestamps.npy", "licks.times.npy")
)
TIMES, CLUSTERS, METRICS = (
    f"alf/probe00/{name}" for name in ("spikes.times.npy", "spikes.clusters.npy", "clusters.metrics.csv")
)
JUNE, JANUARY = (f"alf/probe00/#{day}#/spikes.times.npy" for day in ("2024-06-15", "2024-01-01"))
EPHYS, SYNC = (f"raw_ephys_data/probe00/_spikeglx_ephysData_g0_t0.imec0.{name}" for name in ("ap.cbin", "sync.tsv"))
VIDEO, JSON = "raw_video_data/_iblrig_leftCamera.raw.mp4", "raw_behavior_data/_iblrig_taskSettings.raw.json"
ALF, PROBE, RAW = {TABLE, POSITION, STAMPS, LICKS}, {TIMES, CLUSTERS, METRICS}, {EPHYS, SYNC, VIDEO, JSON}
STANDARD = ALF | PROBE | RAW
NOTES, EMPTY = "alf/notes.table Größe 日本 1.csv", "alf/licks.raw.npy"
AGGREGATE = {"": {"aggregates/Subjects/cortexlab/KS005/_ibl_subjectTrials.table.pqt"}}
DEFAULT = STANDARD - {TIMES} | {JUNE}  # of S1, whose spikes have three revisions

LAST = {"revision_rule": "last_before"}
EXACT = {"revision_rule": "exact"}
SPIKES = {"subjects": ["KS005"], "names": ["spikes.times.npy"]}

CASES: dict[str, tuple[dict[str, Any], dict[str, set[str]]]] = {
    "a lab": ({"labs": ["cortexlab"]}, {"S1": DEFAULT, "S2": STANDARD, "S3": STANDARD}),
    "the other lab": ({"labs": ["churchlandlab"]}, {"S4": STANDARD | {NOTES, EMPTY}, "S5": STANDARD}),
    "a subject": ({"subjects": ["KS014"]}, {"S3": STANDARD}),
    "two subjects of one lab": (
        {"subjects": ["KS014", "CSHL_003"], "labs": ["cortexlab"]},
        {"S3": STANDARD},
    ),
    "a day": ({"dates": ["2019-04-02"]}, {"S2": STANDARD}),
    "days that overlap": (
        {"dates": ["2019-04-02..2019-05-07", "2019-05-07..2019-05-07"]},
        {"S2": STANDARD, "S4": STANDARD | {NOTES, EMPTY}},
    ),
    "days without an end": ({"dates": ["2019-05-08.."]}, {"S3": STANDARD, "S5": STANDARD}),
    "a session number": ({"numbers": [2]}, {"S3": STANDARD}),
    "the number of a session that has none": ({"numbers": [0]}, {}),
    "a name": ({"names": ["licks.times.npy"]}, {f"S{n}": {LICKS} for n in range(1, 6)}),
    "a name with a star": ({"names": ["licks.*"], "dates": ["2019-05-07"]}, {"S4": {LICKS, EMPTY}}),
    "a regular expression": (
        {"names": [r"licks\.(raw|times)\.npy"], "regex": True, "labs": ["churchlandlab"]},
        {"S4": {LICKS, EMPTY}, "S5": {LICKS}},
    ),
    "a star is no regular expression": ({"names": ["licks.*"], "regex": True, "subjects": ["KS014"]}, {"S3": {LICKS}}),
    "a collection": ({"collections": ["alf"], "subjects": ["KS014"]}, {"S3": ALF}),
    "a collection and what is below": ({"collections": ["alf*"], "subjects": ["KS014"]}, {"S3": ALF | PROBE}),
    "a type": ({"dataset_types": ["ephysData.raw.ap"]}, {f"S{n}": {EPHYS} for n in range(1, 6)}),
    "a tag": ({"tags": ["2024_Q3_Sandbox_et_al"], "subjects": ["KS014"]}, {"S3": PROBE}),
    "either tag": (
        {"tags": ["2024_Q3_Sandbox_et_al", "internal_only"], "subjects": ["KS014"]},
        {"S3": PROBE | {JSON}},
    ),
    "public": ({"public_only": True, "dates": ["2019-04-02"]}, {"S2": PROBE}),
    "quality": ({"dates": ["2019-04-02"], "qc_at_most": "WARNING"}, {"S2": STANDARD - {CLUSTERS}}),
    "better than passed": (
        {"dates": ["2019-04-02", "2019-05-08"], "qc_at_most": "NOT_SET"},
        {"S2": STANDARD - {CLUSTERS, METRICS}, "S5": STANDARD - {METRICS}},
    ),
    "small files": ({"subjects": ["KS014"], "max_size": "15 kB"}, {"S3": {METRICS, SYNC, JSON}}),
    "what has no size is not too large": (
        {"dates": ["2019-05-08"], "max_size": "15 kB"},
        {"S5": {METRICS, SYNC, JSON, CLUSTERS}},
    ),
    "no session": ({"names": ["_ibl_subjectTrials.table.pqt"]}, AGGREGATE),
    "no session, of a subject": ({"names": ["_ibl_subjectTrials.table.pqt"], "subjects": ["KS005"]}, {}),
    "revision: default": (SPIKES, {"S1": {JUNE}, "S2": {TIMES}}),
    "revision: exact": ({**SPIKES, **EXACT, "revision": "2024-01-01"}, {"S1": {JANUARY}}),
    "revision: exact, none such": ({**SPIKES, **EXACT, "revision": "2024-01-02"}, {}),
    "revision: last before the first": ({**SPIKES, **LAST, "revision": "2023-12-31"}, {"S1": {TIMES}, "S2": {TIMES}}),
    "revision: last before, on the day": (
        {**SPIKES, **LAST, "revision": "2024-01-01"},
        {"S1": {JANUARY}, "S2": {TIMES}},
    ),
    "revision: last before, between": ({**SPIKES, **LAST, "revision": "2024-03-01"}, {"S1": {JANUARY}, "S2": {TIMES}}),
    "revision: last before, after all": ({**SPIKES, **LAST, "revision": "2025-01-01"}, {"S1": {JUNE}, "S2": {TIMES}}),
    "revision: all": ({**SPIKES, "revision_rule": "all"}, {"S1": {TIMES, JANUARY, JUNE}, "S2": {TIMES}}),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab, pytest.MonkeyPatch.context() as patch:
        for name, value in lab.environment().items():
            patch.setenv(name, value)
        yield lab


@pytest.mark.parametrize("case", CASES)
def test_a_selection_means_these_datasets(lab: Lab, case: str) -> None:
    fields, means = CASES[case]
    found = sorted(one.path for one in datasets(Selection(**fields), AlyxClient()))
    prefix = {**{name: f"{path}/" for name, path in SESSIONS.items()}, "": ""}
    assert found == sorted(f"{prefix[session]}{path}" for session, paths in means.items() for path in paths)


# --- what the rule leaves out --------------------------------------------------------------------------


def skips(tmp_path: Path, **fields: Any) -> dict[str, str]:
    plan = prepare(Selection(**fields), tmp_path, AlyxSettings(catalogue="rest"))
    return {skip.path: skip.reason for skip in plan.skips()}


def test_two_default_revisions_are_a_skip_of_the_plan(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = next(one for one in lab.world.datasets.values() if one.revision == "2024-01-01")
    monkeypatch.setitem(lab.world.datasets, old.id, type(old)(**{**_fields(old), "default": True}))
    (reason,) = skips(tmp_path, **SPIKES).values()
    assert reason == "Alyx marks several revisions as the default one: 2024-01-01, 2024-06-15"


def test_no_revision_so_early_is_a_skip_but_older_ones_are_not(lab: Lab, tmp_path: Path) -> None:
    assert skips(tmp_path, **SPIKES) == {}
    plain = next(one for one in lab.world.datasets.values() if one.path == f"{SESSIONS['S1']}/{TIMES}")
    lab.world.datasets.pop(plain.id)
    try:
        (reason,) = skips(tmp_path, **SPIKES, **LAST, revision="2023-12-31").values()
    finally:
        lab.world.datasets[plain.id] = plain
    assert reason == "all revisions are newer than '2023-12-31': 2024-01-01, 2024-06-15"


def test_what_does_not_have_the_exact_revision_does_not_flood_the_plan(lab: Lab, tmp_path: Path) -> None:
    assert skips(tmp_path, labs=["cortexlab"], **EXACT, revision="2024-01-01") == {}


def _fields(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}
