"""What the disk says."""

from __future__ import annotations

import os

import psutil
import pytest

from tasks.clients.verdicts import DownloadError
from tasks.plan.disk import free_bytes, look


def test_regular_files_are_seen_and_nothing_else(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file.npy").write_bytes(b"four")
    (tmp_path / "top.npy").write_bytes(b"")
    (tmp_path / "a" / "link.npy").symlink_to(tmp_path / "a" / "file.npy")
    (tmp_path / "a" / "dangling.npy").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "a" / "pipe")
    mtime_ns = (tmp_path / "a" / "file.npy").stat().st_mtime_ns
    top_ns = (tmp_path / "top.npy").stat().st_mtime_ns
    expected = {
        "a/file.npy": (4, mtime_ns),
        "a/none.npy": None,
        "a": None,
        "no/folder.npy": None,
        "a/file.npy/below": None,
        "a/pipe": None,
        "a/link.npy": (4, mtime_ns),
        "a/dangling.npy": None,
        "top.npy": (0, top_ns),
        "x" * 300: None,
    }
    for path, found in expected.items():
        folder, _, name = path.rpartition("/")
        assert look(tmp_path, folder, [name]) == [found]
    mixed = ["file.npy", "none.npy", "pipe", "link.npy"]
    assert look(tmp_path, "a", mixed) == [(4, mtime_ns), None, None, (4, mtime_ns)]
    assert look(tmp_path, "a", ["link.npy", "pipe"]) == [(4, mtime_ns), None]


def test_a_root_that_is_not_there_yet_has_nothing_and_the_room_of_its_parent(tmp_path):
    root = tmp_path / "not" / "yet"
    assert look(root, "a", ["b"]) == [None]
    assert free_bytes(root) > 0
    assert not root.parent.exists()


def test_a_root_that_cannot_be_is_told(tmp_path):
    with pytest.raises(DownloadError) as refusal:
        free_bytes(tmp_path / ("x" * 300))
    assert refusal.value.code == "name-too-long"


def test_looking_leaves_no_file_open(tmp_path):
    before = psutil.Process().num_fds()
    (tmp_path / "b").mkdir()
    for folder in ("", "b", "no"):
        look(tmp_path, folder, ["c"])
    assert psutil.Process().num_fds() == before
