"""Attacks on the disk: links, pipes and strangers' directories, planted before and in the middle of a run.

The paths that Alyx registers are attacked in test_paths.py and test_hostile.py, the zip of the cache tables in
test_table_files.py. docs/security.md has the table of all attacks.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from contextlib import closing

import pytest

from tasks.clients import folder
from tasks.clients.partials import Partials
from tasks.clients.proof import Expected
from tasks.clients.publish import Published, publish
from tasks.clients.seams import Disk, Pace
from tasks.clients.tree import OURS, Tree
from tasks.clients.verdicts import DownloadError
from tasks.ledger import Ledger
from tasks.ledgers.database import ledger_file
from tasks.plan.planfile import plans

GOOD, EVIL = b"the registered bytes" * 50, b"somebody else's bytes" * 50
NAME = "lab/Subjects/KS005/2019-04-01/001/alf/spikes.times.npy"
EXPECTED = Expected.of(len(GOOD), hashlib.md5(GOOD).hexdigest())


@pytest.fixture
def elsewhere(tmp_path):
    """A directory outside of the root, with a file that is nobody's business."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "precious.part").write_bytes(b"precious")
    os.utime(place / "precious.part", (0, 0))
    return place


@pytest.fixture
def tree(tmp_path):
    tree = Tree(tmp_path / "root")
    tree.prepare()
    return tree


def partials_of(tree):
    return Partials(tree.partials, tree.disk, Pace())


def held(tree):
    """A partial that holds all bytes."""
    partial = partials_of(tree).claim(EXPECTED, "http://host/a.npy")
    partial.write(GOOD)
    return partial


def swap(tree, place, *, part=""):
    """What a stranger who may write into the root does: ours is renamed, and a symlink stands in its place."""
    path = tree.root / OURS / part
    path.rename(tree.root / "moved away")
    path.symlink_to(place)


def untouched(place):
    return [path.name for path in place.iterdir()] == ["precious.part"]


def code_of(call):
    with pytest.raises(DownloadError) as refused:
        call()
    assert refused.value.next_step
    return refused.value.code


# --- what is ours -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [OURS, f"{OURS}/partials"])
def test_a_symlink_in_the_place_of_ours_is_refused(tmp_path, elsewhere, ours):
    planted = tmp_path / "root" / ours
    planted.parent.mkdir(parents=True)
    planted.symlink_to(elsewhere)
    assert code_of(Tree(tmp_path / "root").prepare) == "not-ours"
    assert code_of(lambda: Partials(tmp_path / "root" / OURS / "partials", Disk(), Pace()).claim(EXPECTED, "")) == (
        "not-ours"
    )
    assert code_of(lambda: Ledger.open(tmp_path / "root")) == "not-ours"
    assert untouched(elsewhere)


def test_another_user_s_directory_is_not_taken_for_ours(tree, monkeypatch):
    monkeypatch.setattr(folder.os, "geteuid", lambda: 12345)
    assert code_of(tree.prepare) == "not-ours"
    assert code_of(lambda: held(tree)) == "not-ours"
    # A single download into a place where a stranger has made one goes on without it.
    assert Tree.around(tree.root / NAME).root == (tree.root / NAME).parent


@pytest.mark.parametrize("part", ["", "partials"])
def test_ours_swapped_between_fetch_and_publish_changes_neither_bytes_nor_place(tree, elsewhere, part):
    partial = held(tree)
    decoy = elsewhere / ("partials" if not part else "") / partial.name
    decoy.parent.mkdir(exist_ok=True)
    decoy.write_bytes(EVIL)
    swap(tree, elsewhere, part=part)
    (result,) = publish(tree, [(partial, NAME)])
    assert isinstance(result, Published)
    assert (tree.root / NAME).read_bytes() == GOOD
    assert decoy.read_bytes() == EVIL


def test_what_is_thrown_away_is_ours(tree, elsewhere):
    """Pruning, releasing and discarding happen where the partials are, not where their path leads."""
    partials, partial = partials_of(tree), held(tree)
    partials.bytes()
    swap(tree, elsewhere, part="partials")
    partials.prune(0)
    partial.release()
    assert untouched(elsewhere)


def test_a_link_in_the_place_of_the_ledger_is_refused(tree, elsewhere):
    ledger_file(tree.root).symlink_to(elsewhere / "ledger.db")
    assert code_of(lambda: Ledger.open(tree.root)) == "bad-path"
    assert untouched(elsewhere)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_what_is_ours_is_private_whatever_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        with closing(Ledger.open(tmp_path / "root")):
            Tree(tmp_path / "root").prepare()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "root").rglob("*")}
    assert {OURS, "partials", "ledger.db"} <= modes.keys()
    assert set(modes.values()) == {0}
    assert (tmp_path / "root" / OURS).stat().st_mode & 0o777 == 0o700


def test_what_was_open_to_others_is_closed(tree):
    (tree.root / OURS).chmod(0o777)
    tree.partials.chmod(0o755)
    tree.prepare()
    assert [(path.stat().st_mode & 0o777) for path in (tree.root / OURS, tree.partials)] == [0o700, 0o700]
    assert not plans(tree.root).exists()


# --- the way to a file, and what stands there --------------------------------------------------------------------


class SwappingDisk(Disk):
    """Makes a folder, and replaces it by a symlink at once: the race between two steps of a walk."""

    def __init__(self, place):
        self.place = place

    def mkdir(self, name, dir_fd):
        super().mkdir(name, dir_fd)
        if name == "alf":
            os.rename(name, "moved", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            os.symlink(self.place, name, dir_fd=dir_fd)


def test_a_folder_that_becomes_a_symlink_while_it_is_made_is_not_entered(tmp_path, elsewhere):
    tree = Tree(tmp_path / "root", SwappingDisk(elsewhere))
    tree.prepare()
    (result,) = publish(tree, [(held(tree), NAME)])
    assert isinstance(result, DownloadError)
    assert result.code == "bad-path"
    assert untouched(elsewhere)


@pytest.mark.parametrize(
    "target", ["../outside.npy", "/outside.npy", "a/../../outside.npy", f"{OURS}/../../outside.npy"]
)
def test_no_name_leaves_the_root_at_the_moment_of_use(tree, target):
    (tree.root / "a.npy").write_bytes(GOOD)
    before = {path for path in tree.root.parent.rglob("*") if not path.is_relative_to(tree.root)}
    for step in (lambda: tree.move("a.npy", target), lambda: tree.move(target, "b.npy"), lambda: tree.open(target)):
        with pytest.raises((DownloadError, OSError)):
            step()
    publish(tree, [(held(tree), target)])
    assert {path for path in tree.root.parent.rglob("*") if not path.is_relative_to(tree.root)} == before


@pytest.mark.timeout(20)
@pytest.mark.parametrize("open_for_writing", [False, True])
def test_a_pipe_in_the_place_of_a_file_is_never_waited_for(tree, open_for_writing):
    os.mkfifo(tree.root / "pipe.npy")
    writer = os.open(tree.root / "pipe.npy", os.O_RDWR) if open_for_writing else -1
    try:
        assert code_of(lambda: tree.open("pipe.npy")) == "target"
        assert tree.stat("pipe.npy") is None
        (result,) = publish(tree, [(held(tree), "pipe.npy")])
        assert isinstance(result, DownloadError)
        assert result.code == "target"
    finally:
        if writer >= 0:
            os.close(writer)


@pytest.mark.timeout(20)
def test_a_pipe_in_the_place_of_a_partial_is_never_waited_for(tree):
    partial = held(tree)
    partial.release()
    (left,) = tree.partials.iterdir()
    left.unlink()
    os.mkfifo(left)
    assert code_of(lambda: held(tree)) == "not-ours"


@pytest.mark.parametrize("kind", ["directory", "device", "socket"])
def test_what_is_no_file_is_not_read(tree, kind):
    place = tree.root / "odd.npy"
    try:
        if kind == "directory":
            place.mkdir()
        else:
            os.mknod(place, 0o020600 if kind == "device" else 0o140600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")
    with pytest.raises((DownloadError, OSError)) as refused:
        tree.open("odd.npy")
    if isinstance(refused.value, OSError):
        assert refused.value.errno in (errno.ENXIO, errno.EACCES, errno.EPERM, errno.EISDIR)


def test_two_writers_race_with_a_stranger_and_only_proven_bytes_get_the_name(tree, elsewhere):
    """A stranger flips the folder between a directory and a symlink as fast as it can, while files are published."""
    ended = threading.Event()
    folder_path = tree.root / "race"
    folder_path.mkdir()

    def flip():
        while not ended.is_set():
            try:
                folder_path.rename(tree.root / "aside")
                folder_path.symlink_to(elsewhere)
                folder_path.unlink()
                (tree.root / "aside").rename(folder_path)
            except OSError:
                continue

    stranger = threading.Thread(target=flip)
    stranger.start()
    try:
        for _ in range(200):
            publish(tree, [(held(tree), "race/a.npy")])
    finally:
        ended.set()
        stranger.join()
    assert untouched(elsewhere)
    found = [path.read_bytes() for path in tree.root.rglob("a.npy")]
    assert set(found) <= {GOOD}
