"""Registered paths are hostile until they are shown to be plain places under a root."""

from __future__ import annotations

import contextlib
import posixpath
import re
from pathlib import PureWindowsPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.clients.paths import fold, safe_path
from tasks.clients.verdicts import DownloadError, Verdict

LEGAL = [
    "cortexlab/Subjects/KS005/2019-04-01/001/alf/probe00/#2024-05-06#/spikes.times.npy",
    "lab/Subjects/mouse/2020-01-01/001/alf/some name.with spaces.npy",
    "lab/Subjects/Mäuse/2020-01-01/001/алф/数据.times.npy",
    "lab/Subjects/mouse/2020-01-01/001/.hidden.npy",
    "aggregates/Tags/2022_Q2/_ibl_subjectTrials.table.pqt",
    "noext",
    "a/~b/$HOME/%2e%2e/*?.npy",
    "lab/console/com10/nullable.npy",
    "lab/nul and void/prefec~/prefecture~1",
    "lab/" + "x" * 255,
]

HOSTILE = {
    "": "empty part",
    "/etc/passwd": "absolute",
    "//server/share": "absolute",
    "../x.npy": "..",
    "a/../../x.npy": "..",
    "a/..": "..",
    "a/./b": "..",
    "a//b": "empty part",
    "a/": "empty part",
    "C:/x.npy": "drive",
    "C:x.npy": "drive",
    "a/name.npy:stream": "drive",
    "a\\..\\x.npy": "backslash",
    "a/\x00.npy": "not printable",
    "a/line\nfeed.npy": "not printable",
    "a/\x9b31m.npy": "not printable",
    "a/\ud800.npy": "not printable",
    "a/\u2028.npy": "not printable",
    "a/CON": "device",
    "a/nul.npy": "device",
    "lpt1.tar.gz/x": "device",
    "a/COM¹": "device",
    "a/nul .npy": "device",
    "a/trailing.": "dot or a space",
    "a/trailing /b": "dot or a space",
    "a/" + "x" * 256: "255 bytes",
    "a/" + "ä" * 128: "255 bytes",
    ".prefect-alyx/ledger.db": "not for datasets",
    ".Prefect-Alyx/ledger.db": "not for datasets",
    ".prefect\u200c-alyx/ledger.db": "not for datasets",
    "a/.prefect-alyx": "not for datasets",
    "PREFEC~1/ledger.db": "not for datasets",
}


@pytest.mark.parametrize("path", LEGAL)
def test_what_alf_allows_is_returned_unchanged(path):
    assert safe_path(path) == path


@pytest.mark.parametrize(("path", "words"), HOSTILE.items(), ids=ascii)
def test_what_could_leave_the_root_or_differ_elsewhere_is_refused(path, words):
    with pytest.raises(DownloadError, match=re.escape(words)) as refusal:
        safe_path(path)
    assert (refusal.value.code, refusal.value.verdict) == ("bad-path", Verdict.SKIP_FILE)
    assert refusal.value.reason.isprintable()
    assert ascii(path) in refusal.value.reason


@settings(deadline=None)
@given(st.text())
@example("a/b.npy")
def test_any_text_is_either_returned_or_refused(path):
    with contextlib.suppress(DownloadError):
        assert safe_path(path) == path


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "..", ".", "", "C:", "\\", "b.npy", "#r#", "~", " ", "é", ".prefect-alyx"])))
def test_a_path_that_passes_stays_under_the_root(parts):
    path = "/".join(parts)
    try:
        safe_path(path)
    except DownloadError:
        return
    assert posixpath.normpath(f"/root/{path}") == f"/root/{path}"
    assert PureWindowsPath(path).parts == tuple(parts)
    assert not PureWindowsPath(path).drive


@pytest.mark.parametrize(
    ("one", "other"),
    [("A/Spikes.NPY", "a/spikes.npy"), ("caf\u00e9", "cafe\u0301"), ("\u00c9", "e\u0301"), ("STRASSE", "straße")],
)
def test_names_that_some_file_system_takes_for_one_fold_to_one(one, other):
    assert fold(one) == fold(other)


def test_other_names_stay_apart():
    assert fold("a/b") != fold("a/c")


@settings(deadline=None)
@given(st.text())
def test_folding_twice_changes_nothing(path):
    assert fold(fold(path)) == fold(path)
