"""Publish: whatever happens, a final name is absent, the old good file, or the new proven one."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from tasks.clients.partials import Partials
from tasks.clients.proof import Expected
from tasks.clients.publish import Published, publish
from tasks.clients.seams import Disk, Pace
from tasks.clients.tree import OURS, Tree
from tasks.clients.verdicts import DownloadError

FILES = {
    f"lab/Subjects/S{n % 2}/2024-01-0{n}/001/alf/#2024-05-06#/spikes.times.npy": os.urandom(3000) for n in range(1, 5)
}
OLD = b"the old good file"


def expected(data):
    return Expected.of(len(data), hashlib.md5(data).hexdigest())


def proven(tree, relative, data):
    partial = Partials(tree.partials, tree.disk, Pace()).claim(expected(data), f"http://host/{relative}")
    partial.write(data[partial.size :])
    return partial, relative


def publish_all(root, disk):
    tree = Tree(root, disk)
    tree.prepare()
    return publish(tree, [proven(tree, relative, data) for relative, data in FILES.items()])


def data_files(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and OURS not in path.parts
    }


def partials_of(root):
    return list((root / OURS / "partials").iterdir())


def test_a_group_is_published_with_sizes_and_how_it_was_proven(tmp_path):
    results = publish_all(tmp_path, Disk())
    assert data_files(tmp_path) == FILES
    assert partials_of(tmp_path) == []
    assert [result.verified for result in results] == ["md5"] * 4
    assert [(tmp_path / result.relative).stat().st_mtime_ns for result in results] == [r.mtime_ns for r in results]


class DyingDisk(Disk):
    """Kills the process at the n-th call."""

    def __init__(self, last):
        self.calls_left = last

    def _count(self):
        self.calls_left -= 1
        if self.calls_left < 0:
            os._exit(9)

    def write(self, fd, data):
        self._count()
        super().write(fd, data[: len(data) // 2])
        self._count()
        super().write(fd, data[len(data) // 2 :])

    def fsync(self, fd):
        self._count()
        super().fsync(fd)

    def mkdir(self, name, dir_fd):
        self._count()
        super().mkdir(name, dir_fd)

    def rename(self, *names):
        self._count()
        super().rename(*names)
        self._count()


def test_after_a_crash_at_any_step_names_are_right_and_a_rerun_makes_it_whole(tmp_path):
    survived = False
    step = 0
    while not survived:
        root = tmp_path / str(step)
        old = root / next(iter(FILES))
        old.parent.mkdir(parents=True)
        old.write_bytes(OLD)
        child = os.fork()
        if not child:
            publish_all(root, DyingDisk(step))
            os._exit(0)
        survived = os.waitpid(child, 0)[1] == 0
        for relative, data in data_files(root).items():
            assert data == FILES[relative] or (data == OLD and relative == next(iter(FILES))), f"crash at step {step}"
        assert all(isinstance(result, Published) for result in publish_all(root, Disk()))
        assert data_files(root) == FILES, f"rerun after a crash at step {step}"
        assert partials_of(root) == [], f"leftovers of a crash at step {step}"
        step += 1
    assert step > 30


class FailingDisk(Disk):
    """Fails one kind of call."""

    def __init__(self, what, number):
        self.what = what
        self.number = number

    def fsync(self, fd):
        if self.what == "fsync":
            raise OSError(self.number, os.strerror(self.number))
        super().fsync(fd)

    def rename(self, *names):
        if self.what == "rename":
            raise OSError(self.number, os.strerror(self.number))
        super().rename(*names)


@pytest.mark.parametrize("what", ["fsync", "rename"])
@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "disk-full"), (errno.EROFS, "read-only"), (errno.EIO, "local-io")]
)
def test_a_disk_that_fails_leaves_names_untouched_and_partials_resumable(tmp_path, what, number, code):
    tree = Tree(tmp_path)
    tree.prepare()
    relative, data = next(iter(FILES.items()))
    group = [proven(tree, relative, data)]
    group[0][0].disk = tree.disk = FailingDisk(what, number)
    (result,) = publish(tree, group)
    assert isinstance(result, DownloadError)
    assert result.code == code
    assert data_files(tmp_path) == {}
    assert [path.read_bytes() for path in partials_of(tmp_path)] == [data]
    assert all(isinstance(result, Published) for result in publish_all(tmp_path, Disk()))


def test_what_is_not_proven_is_never_named(tmp_path):
    tree = Tree(tmp_path)
    tree.prepare()
    right = b"right" * 100
    partial = Partials(tree.partials, tree.disk, Pace()).claim(expected(right), "http://host/a.npy")
    partial.write(b"wrong" * 100)
    (result,) = publish(tree, [(partial, "lab/a.npy")])
    assert isinstance(result, DownloadError)
    assert result.code == "digest-mismatch"
    assert data_files(tmp_path) == {}


@pytest.mark.parametrize("obstacle", ["directory", "symlink", "fifo"])
def test_what_is_no_file_at_the_final_name_is_left_alone(tmp_path, obstacle):
    tree = Tree(tmp_path / "root")
    tree.prepare()
    elsewhere = tmp_path / "elsewhere.npy"
    elsewhere.write_bytes(OLD)
    place = tree.root / "lab" / "a.npy"
    place.parent.mkdir()
    {"directory": place.mkdir, "symlink": lambda: place.symlink_to(elsewhere), "fifo": lambda: os.mkfifo(place)}[
        obstacle
    ]()
    (result,) = publish(tree, [proven(tree, "lab/a.npy", b"new")])
    assert isinstance(result, DownloadError)
    assert result.code == "target"
    assert elsewhere.read_bytes() == OLD


@pytest.mark.parametrize("relative", ["lab/link/a.npy", "link/a.npy", "../a.npy", "lab/../../a.npy"])
def test_nothing_is_written_outside_the_root(tmp_path, relative):
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = Tree(tmp_path / "root")
    tree.prepare()
    (tree.root / "lab").mkdir()
    (tree.root / "link").symlink_to(outside)
    (tree.root / "lab" / "link").symlink_to(outside)
    (result,) = publish(tree, [proven(tree, relative, b"new")])
    assert isinstance(result, DownloadError)
    assert result.code == "bad-path"
    assert list(outside.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "root"]


def test_names_at_the_limit_and_in_both_unicode_forms(tmp_path):
    names = ["n" * 251 + ".npy", "Gr\u00f6\u00dfe 1.csv", "Gro\u0308\u00dfe 1.csv"]
    tree = Tree(tmp_path)
    tree.prepare()
    results = publish(tree, [proven(tree, f"lab/{name}", name.encode()) for name in names])
    assert all(isinstance(result, Published) for result in results)
    assert {Path(name).name for name in data_files(tmp_path)} == set(names)
    (too_long,) = publish(tree, [proven(tree, "lab/" + "n" * 256, b"x")])
    assert isinstance(too_long, DownloadError)
    assert too_long.code == "name-too-long"


class RecordingDisk(Disk):
    """Says in which order things became durable and got their names."""

    def __init__(self):
        self.steps = []

    def fsync(self, fd):
        self.steps.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "bytes")
        super().fsync(fd)

    def rename(self, *names):
        self.steps.append("name")
        super().rename(*names)


def test_bytes_are_durable_before_the_name_and_the_name_before_the_result(tmp_path):
    tree = Tree(tmp_path, RecordingDisk())
    tree.prepare()
    publish(tree, [proven(tree, "a.npy", b"one"), proven(tree, "b.npy", b"two")])
    assert tree.disk.steps == ["bytes", "bytes", "name", "name", "folder"]


def test_what_could_not_be_published_is_free_for_the_next(tmp_path):
    tree = Tree(tmp_path)
    tree.prepare()
    (tmp_path / "a.npy").mkdir()
    publish(tree, [proven(tree, "a.npy", b"one")])
    assert [".free." in path.name for path in partials_of(tmp_path)] == [True]


@pytest.mark.parametrize(
    ("size", "content", "code"),
    [
        (3, b"four", "size-mismatch"),
        (5, b"four", "size-mismatch"),
        (None, b"<html>", "not-data"),
        (None, b"\xef\xbb\xbf <!DOCTYPE html>", "not-data"),
        (None, b"\n<?xml version='1.0'?>", "not-data"),
    ],
)
def test_without_a_digest_size_and_content_decide(size, content, code):
    with pytest.raises(DownloadError) as caught:
        Expected.of(size, "").check(len(content), "", content, "a.bin")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.wav", b"RF64\xff\xff\xff\xffWAVE"),  # beyond 4 GB
        ("a.wav", b"RIFX"),
        ("a.mp4", b"\0\0\0\x18styp"),
        ("a.mp4", b"\0\0\0\x14pnot"),
        ("a.pqt", b"PARE"),  # encrypted
        ("a.zip", b"PK\x07\x08"),
        ("a.nwb", bytes(512) + b"\x89HDF\r\n\x1a\n"),  # a user block of 512 bytes
    ],
)
def test_without_a_digest_the_rare_forms_of_a_format_are_data_too(name, start):
    content = start + bytes(600)
    Expected.of(len(content), "").check(len(content), "", content[:512], name)


def test_a_digest_may_be_written_with_dashes():
    digest = hashlib.md5(OLD).hexdigest()
    assert Expected.of(None, f"{digest[:8]}-{digest[8:].upper()}").digest == digest
