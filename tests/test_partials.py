"""Partials: claimed by rename, continued by anybody, never written by two."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tasks.clients import owners
from tasks.clients.folder import Folder
from tasks.clients.owners import LEASE_SECONDS
from tasks.clients.partials import Partials, identity
from tasks.clients.proof import Expected
from tasks.clients.seams import Disk, Pace
from tasks.clients.verdicts import DownloadError

DATA = b"0123456789" * 1000
EXPECTED = Expected.of(len(DATA), hashlib.md5(DATA).hexdigest())
URL = "http://host/a.npy"


@pytest.fixture
def partials(tmp_path):
    return Partials(tmp_path, Disk(), Pace())


def names(partials):
    return sorted(path.name for path in partials.directory.iterdir())


def test_a_released_partial_is_continued_with_its_digest(partials):
    first = partials.claim(EXPECTED, URL)
    first.write(DATA[:4000])
    first.release()
    second = partials.claim(EXPECTED, "http://another/source/of/the/same/bytes")
    assert second.size == 4000
    second.write(DATA[4000:])
    second.prove("a.npy")
    assert second.path.read_bytes() == DATA


class HalfDisk(Disk):
    """Writes half of what it is given, and fails, once."""

    def __init__(self):
        self.failed = False

    def write(self, fd, data):
        if self.failed:
            return super().write(fd, data)
        self.failed = True
        os.write(fd, data[: len(data) // 2])
        raise OSError(errno.EIO, "input/output error")


def test_what_a_failed_write_left_behind_is_not_part_of_the_file(tmp_path):
    partial = Partials(tmp_path, HalfDisk(), Pace()).claim(EXPECTED, URL)
    with pytest.raises(OSError, match="input/output"):
        partial.write(DATA)
    assert partial.size == 0
    partial.write(DATA)
    partial.prove("a.npy")
    assert partial.path.read_bytes() == DATA


def test_a_claimed_partial_is_left_alone(partials):
    first = partials.claim(EXPECTED, URL)
    first.write(DATA[:4000])
    second = partials.claim(EXPECTED, URL)
    assert second.size == 0
    second.write(DATA)
    first.write(DATA[4000:])
    first.prove("a.npy")
    second.prove("a.npy")
    assert first.path != second.path


def test_sixteen_workers_that_want_one_partial_get_sixteen_files(partials):
    left = partials.claim(EXPECTED, URL)
    left.write(DATA[:5000])
    left.release()
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(lambda _: partials.claim(EXPECTED, URL), range(16)))
    assert sorted(claim.size for claim in claims) == [0] * 15 + [5000]
    assert len({claim.path for claim in claims}) == 16


def test_what_a_killed_process_left_is_taken_over(partials):
    script = (
        "import os, signal, sys, pathlib;"
        "from tasks.clients.partials import Partials; from tasks.clients.seams import Disk, Pace;"
        "from tasks.clients.proof import Expected;"
        f"p = Partials(pathlib.Path({str(partials.directory)!r}), Disk(), Pace())"
        f".claim(Expected.of({EXPECTED.size}, {EXPECTED.digest!r}), {URL!r});"
        "p.write((b'0123456789' * 1000)[:7000]); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.Popen([sys.executable, "-c", script])
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(killed.pid).status() == psutil.STATUS_ZOMBIE
    assert len(names(partials)) == 1
    assert partials.claim(EXPECTED, URL).size == 7000
    assert len(names(partials)) == 1
    killed.wait()


@pytest.fixture
def left_by_another_machine(partials, monkeypatch):
    monkeypatch.setattr(owners, "machine", lambda: "0123456789abcdef")
    owners._process.cache_clear()
    foreign = partials.claim(EXPECTED, URL)
    foreign.write(DATA[:6000])
    monkeypatch.undo()
    owners._process.cache_clear()
    return foreign


def test_another_machines_claim_holds_while_its_lease_runs(partials, left_by_another_machine):
    assert partials.claim(EXPECTED, URL).size == 0


def test_a_slow_owner_on_another_machine_cannot_write_into_what_was_taken_over(partials, left_by_another_machine):
    foreign = left_by_another_machine
    long_ago = foreign.path.stat().st_mtime - LEASE_SECONDS - 5
    os.utime(foreign.path, (long_ago, long_ago))
    taken = partials.claim(EXPECTED, URL)
    assert taken.size == 6000
    taken.write(DATA[6000:])
    foreign.write(b"late bytes of an owner that was only slow")
    taken.prove("a.npy")
    assert taken.path.read_bytes() == DATA


def test_a_claim_whose_reply_was_lost_is_won(partials, monkeypatch):
    """NFS may answer ENOENT for a rename that it did: the retransmitted request finds the source gone."""
    left = partials.claim(EXPECTED, URL)
    left.write(DATA[:3000])
    left.release()
    rename = Folder.rename

    def renamed_but_not_told(folder, old, new):
        rename(folder, old, new)
        raise FileNotFoundError(old)

    monkeypatch.setattr(Folder, "rename", renamed_but_not_told)
    assert partials.claim(EXPECTED, URL).size == 3000


def test_without_a_digest_the_partial_belongs_to_its_address_and_version(partials):
    unknown = Expected.of(None, "")
    first = partials.claim(unknown, URL)
    first.write(b"version one")
    first.remember('"etag-1"')
    first.release()
    assert partials.claim(unknown, "http://other/a.npy").size == 0
    again = partials.claim(unknown, URL)
    assert again.size == 11
    assert again.validator == owners.short_hash('"etag-1"')


def test_an_empty_partial_leaves_nothing(partials):
    partials.claim(EXPECTED, URL).release()
    assert names(partials) == []


def test_old_partials_are_pruned_and_young_and_claimed_ones_kept(partials):
    held, old, young = (partials.claim(Expected.of(n, ""), f"{URL}{n}") for n in (1, 2, 3))
    for partial in (held, old, young):
        partial.write(b"x")
    old.release()
    young.release()
    for path in partials.directory.iterdir():
        if ".free." not in path.name or identity(old.expected, f"{URL}2") in path.name:
            os.utime(path, (0, 0))
    assert partials.prune(retention_seconds=3600) == 1
    assert len(names(partials)) == 2
    assert not any(name.startswith(identity(old.expected, f"{URL}2")) for name in names(partials))


def test_a_read_only_place_is_one_clear_error(tmp_path):
    with pytest.raises(DownloadError) as caught:
        Partials(tmp_path / "is not there", Disk(), Pace()).claim(EXPECTED, URL)
    assert caught.value.code == "local-io"
    assert str(tmp_path) in caught.value.reason


def test_a_stop_while_the_prefix_is_read_keeps_the_prefix(partials):
    left = partials.claim(EXPECTED, URL)
    left.write(DATA[:5000])
    left.release()
    partials.pace.stop.set()
    with pytest.raises(DownloadError):
        partials.claim(EXPECTED, URL)
    partials.pace.stop.clear()
    assert partials.claim(EXPECTED, URL).size == 5000


def test_what_is_thrown_away_is_gone_from_the_disk(partials):
    partial = partials.claim(EXPECTED, URL)
    partial.write(b"wrong" * len(DATA))
    partial.reject()
    assert partial.path.stat().st_size == 0


def test_the_longest_of_several_partials_is_continued(partials):
    claimed = [partials.claim(EXPECTED, URL) for _ in range(3)]
    for partial, size in zip(claimed, (10, 300, 20), strict=True):
        partial.write(DATA[:size])
        partial.release()
    assert partials.claim(EXPECTED, URL).size == 300


# --- pieces -------------------------------------------------------------------------------------------


def with_pieces(partials, *places, expected=EXPECTED, size=1000):
    """A claimed partial of 500 bytes, and pieces of it."""
    partial = partials.claim(expected, URL)
    partial.write(DATA[:500])
    for start in places:
        piece = partial.pieces.begin(partial.name, start)
        piece.write(DATA[start : start + size])
        piece.close()
    return partial


def test_pieces_are_appended_when_their_turn_comes_and_then_gone(partials):
    partial = with_pieces(partials, 3000, 500, 1500)
    while partial.absorb():
        pass
    assert partial.size == 2500
    assert partial.held == 3500
    partial.write(DATA[2500:3200])  # what overlaps is not taken twice
    assert partial.absorb()
    assert partial.size == 4000
    partial.write(DATA[4000:])
    partial.prove("a.npy")
    assert len(names(partials)) == 1


def test_a_piece_that_the_prefix_has_reached_into_gives_only_the_rest(partials):
    partial = with_pieces(partials, 3000)
    partial.write(DATA[500:3403])  # the data repeats after ten bytes
    assert partial.absorb()
    assert partial.size == 4000
    assert partial.path.read_bytes() == DATA[:4000]


def test_pieces_go_with_their_partial_from_claim_to_claim(partials):
    with_pieces(partials, 3000, 5000).release()
    assert len([name for name in names(partials) if ".free." in name]) == 3
    again = partials.claim(EXPECTED, "http://another/source")
    assert again.size == 500
    assert again.pieces.spans() == [(3000, 4000), (5000, 6000)]
    again.discard()
    assert names(partials) == []


def test_a_claimed_piece_is_left_alone(partials):
    first = with_pieces(partials, 3000)
    assert partials.claim(EXPECTED, URL).pieces.spans() == []
    assert first.pieces.spans() == [(3000, 4000)]


def test_a_piece_is_never_taken_for_a_prefix(partials):
    """Also by programs that know of no pieces: to them a partial ends in `.part`."""
    with_pieces(partials, 3000).release()
    prefixes = [path for path in partials.directory.iterdir() if path.suffix == ".part"]
    assert [path.read_bytes() for path in prefixes] == [DATA[:500]]


def test_pieces_without_their_partial_are_found(partials):
    with_pieces(partials, 0, 3000).release()
    next(partials.directory.glob("*.part")).unlink()
    again = partials.claim(EXPECTED, URL)
    while again.absorb():
        pass
    assert again.size == 1000
    assert again.pieces.spans() == [(3000, 4000)]


def test_without_a_digest_pieces_of_another_version_stay_where_they_are(partials):
    unknown = Expected.of(len(DATA), "")
    old = with_pieces(partials, expected=unknown)
    old.remember('"one"')
    old.pieces.begin(old.name, 3000).write(DATA[3000:4000])
    old.release()
    free = next(partials.directory.glob("*.part"))
    free.rename(free.with_name(free.name.replace(owners.short_hash('"one"'), owners.short_hash('"two"'))))
    assert partials.claim(unknown, URL).pieces.spans() == []


def test_rewinding_and_rejecting_throw_pieces_away(partials):
    for throw_away in ("rewind", "reject"):
        partial = with_pieces(partials, 3000)
        getattr(partial, throw_away)()
        assert partial.held == 0
        assert len(names(partials)) == 1
        partial.discard()


def test_pieces_of_another_machine_are_taken_with_its_partial_and_not_before(partials, monkeypatch):
    monkeypatch.setattr(owners, "machine", lambda: "0123456789abcdef")
    owners._process.cache_clear()
    foreign = with_pieces(partials, 3000)
    monkeypatch.undo()
    owners._process.cache_clear()
    long_ago = foreign.path.stat().st_mtime - LEASE_SECONDS - 5
    os.utime(next(partials.directory.glob("*.piece")), (long_ago, long_ago))
    assert partials.claim(EXPECTED, URL).held == 0
    os.utime(foreign.path, (long_ago, long_ago))
    assert partials.claim(EXPECTED, URL).held == 1500


def test_old_pieces_are_pruned_and_counted(partials):
    with_pieces(partials, 3000).release()
    assert partials.bytes() == 1500
    for path in partials.directory.iterdir():
        os.utime(path, (0, 0))
    assert partials.prune(retention_seconds=3600) == 2
    assert names(partials) == []


def test_a_disk_that_is_full_before_the_first_byte_says_how_much_the_file_needs(partials, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Folder, "create", full)
    with pytest.raises(DownloadError, match="this file alone needs 1,000 more"):
        partials.claim(Expected(1000, "0" * 32), "https://f/a.npy")
