"""The ledger: proofs that no failure takes away, many writers at once, and nothing lost when one is killed."""

from __future__ import annotations

import sqlite3
import stat
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tasks.clients.tree import OURS
from tasks.clients.verdicts import DownloadError, Verdict, ledger_error
from tasks.ledger import Folder, Ledger
from tasks.ledgers.engines import ledger_file, schema_of
from tasks.model import Outcome, Proof, State, Summary
from tasks.transfer.tally import Tally

MD5, OTHER_MD5 = "a" * 32, "b" * 32
MORNING = datetime(2026, 11, 22, 6, tzinfo=UTC)


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.moment = MORNING

    def __call__(self):
        return self.moment


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    """Where the ledger of a root lies: every test that takes this runs on both databases."""
    if request.param == "sqlite":
        return tmp_path
    return schema_of(tmp_path, request.getfixturevalue("postgresql").url())


@pytest.fixture
def ledger(place, clock):
    opened = Ledger.open(place, now=clock)
    yield opened
    opened.close()


@pytest.fixture
def file(tmp_path):
    """A ledger in a file, for what only a file can suffer."""
    return Ledger.open(tmp_path)


def published(path="lab/a.npy", size=3, digest=MD5, mtime_ns=7, **fields):
    made = {"source": "server", "protocol": "http", "bytes": 3, "attempts": 1, "verified": "md5"}
    return Outcome("id", path, State.PUBLISHED, size=size, digest=digest, mtime_ns=mtime_ns, **(made | fields))


def failed(path="lab/a.npy", size=3, digest=MD5, *, verdict=Verdict.SKIP_FILE, code="not-found", **fields):
    made = {"source": "server", "protocol": "http", "attempts": 2, "reason": "Not there.", "next_step": "Look."}
    return Outcome("id", path, State.FAILED, verdict=verdict, code=code, size=size, digest=digest, **(made | fields))


def names(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


# --- proofs and failures --------------------------------------------------------------------------


def test_a_published_file_is_proven(ledger):
    ledger.record([published()])
    assert ledger.known() == {"lab/a.npy": Proof(3, MD5, 7)}
    assert ledger.counts() == {State.PUBLISHED: 1}
    assert ledger.failed() == []


@pytest.mark.parametrize("outcome", [failed(), failed(digest=OTHER_MD5), Outcome("id", "lab/a.npy", State.SKIPPED)])
def test_no_failure_of_a_remote_takes_a_proof_away(ledger, outcome):
    ledger.record([published()])
    ledger.record([outcome])
    assert ledger.known() == {"lab/a.npy": Proof(3, MD5, 7)}
    assert ledger.counts() == {outcome.state: 1}


def test_a_later_proof_ends_a_failure(ledger):
    ledger.record([failed()])
    assert [failure.failures for failure in ledger.failed()] == [1]
    ledger.record([published()])
    assert ledger.failed() == []
    ledger.record([failed()])
    assert [failure.failures for failure in ledger.failed()] == [1]


def test_failures_in_a_row_are_counted_from_the_first(ledger, clock):
    for day in range(3):
        clock.moment = MORNING + timedelta(days=day)
        ledger.record([failed(reason=f"Day {day}.")], run=f"run-{day}")
    (failure,) = ledger.failed()
    assert (failure.failures, failure.first, failure.last) == (3, MORNING, MORNING + timedelta(days=2))
    assert (failure.reason, failure.next_step, failure.attempts) == ("Day 2.", "Look.", 2)
    assert (failure.dataset, failure.path, failure.source, failure.protocol) == ("id", "lab/a.npy", "server", "http")
    assert (failure.verdict, failure.code, failure.size, failure.digest) == ("SKIP_FILE", "not-found", 3, MD5)


def test_one_call_may_tell_of_a_path_twice(ledger):
    ledger.record([failed("lab/b.npy"), failed(reason="Once."), failed(reason="Twice."), published("lab/c.npy")])
    assert [(one.path, one.failures, one.reason) for one in ledger.failed()] == [
        ("lab/a.npy", 2, "Twice."),
        ("lab/b.npy", 1, "Not there."),
    ]
    assert set(ledger.known()) == {"lab/c.npy"}


def test_what_a_plan_found_present_is_no_failure_any_more(ledger):
    ledger.record([published(), failed(), published("lab/b.npy"), failed("lab/c.npy")])
    ledger.confirm({"id": "lab/a.npy", "other": "lab/b.npy"}.items())
    assert ledger.counts() == {State.PRESENT: 1, State.PUBLISHED: 1, State.FAILED: 1}
    assert ledger.known().keys() == {"lab/a.npy", "lab/b.npy"}


def test_present_without_a_new_proof_leaves_the_old_one(ledger):
    ledger.record([published()])
    ledger.record([Outcome("id", "lab/a.npy", State.PRESENT)])
    assert ledger.known() == {"lab/a.npy": Proof(3, MD5, 7)}


def test_adopting_the_same_bytes_keeps_where_they_came_from(ledger):
    ledger.record([published()])
    ledger.record([published(mtime_ns=8, source="", protocol="")])
    ledger.record([published("lab/b.npy"), published("lab/b.npy", digest=OTHER_MD5, source="", protocol="")])
    with ledger._database.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT path, mtime_ns, source, protocol FROM proofs ORDER BY path"
        ).fetchall()
    assert rows == [("lab/a.npy", 8, "server", "http"), ("lab/b.npy", 7, "", "")]


def test_a_damaged_file_is_disproved(ledger):
    ledger.record([published(), published("lab/b.npy")])
    ledger.disprove(["lab/a.npy", "nowhere"])
    assert ledger.known().keys() == {"lab/b.npy"}


def test_proofs_are_looked_up_for_many_paths_at_once(ledger):
    paths = [f"lab/#r#/{i} ä'\".npy" for i in range(3000)]
    ledger.record(published(path, mtime_ns=i) for i, path in enumerate(paths))
    asked = range(0, 2500, 2)
    assert ledger.known([paths[i] for i in asked]) == {paths[i]: Proof(3, MD5, i) for i in asked}
    assert ledger.known([]) == {}
    assert len(ledger.known()) == 3000


def test_the_database_adds_a_run_up_as_its_outcomes_do(ledger):
    paths = ["a.npy", "lab/a.npy", "lab/b.npy", "lab/#r#/ä ß.npy", "lab/x/aaa/aaaa", "lab/x/a.a.a", "lab/%_'/b"]
    told = [published(path, size=number, source=f"server {number % 2}") for number, path in enumerate(paths)]
    told += [failed("lab/f.npy"), failed("lab/g.npy", size=None), Outcome("id", "lab/s.npy", State.SKIPPED)]
    ledger.record(told, run="one")
    ledger.record([published("lab/other.npy"), failed("lab/z.npy")], run="other")
    tally, one_by_one = Tally.of_sums(ledger.sums("one"), slowest=[]), Tally.of(told)
    assert (tally.files, tally.bytes, tally.failed) == (one_by_one.files, one_by_one.bytes, one_by_one.failed)
    assert tally.given == one_by_one.given
    assert [failure.path for failure in ledger.failures("one", 500)] == ["lab/f.npy", "lab/g.npy"]
    assert len(ledger.failures("one", 1)) == 1
    assert sorted(ledger.folders("one")) == [
        Folder("", 1, 0),
        Folder("lab/", 2, 3),
        Folder("lab/#r#/", 1, 3),
        Folder("lab/%_'/", 1, 6),
        Folder("lab/x/", 1, 5),
        Folder("lab/x/aaa/", 1, 4),
    ]
    assert (ledger.sums("none"), ledger.folders("none"), ledger.failures("none", 9)) == ([], [], [])


def test_proofs_come_in_the_order_of_the_paths_that_were_asked_for(ledger):
    paths = [f"lab/{i:04}.npy" for i in range(1000)]
    ledger.record(published(path, mtime_ns=i) for i, path in enumerate(paths))
    asked = [*paths[::-7], "lab/unknown.npy", "", paths[3], paths[3]]
    known = {path: Proof(3, MD5, i) for i, path in enumerate(paths)}
    assert ledger.proofs(asked) == [known.get(path) for path in asked]
    assert ledger.proofs([]) == []


@pytest.mark.parametrize("hostile", ["lab/\ud800.npy", "lab/\0.npy"])
def test_a_path_that_no_database_stores_has_no_proof_even_where_a_file_is_spelt_like_its_escape(ledger, hostile):
    spelt = hostile.encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")
    ledger.record([published(spelt), published("lab/ä.npy")])
    assert ledger.proofs([hostile, spelt, "lab/ä.npy"]) == [None, Proof(3, MD5, 7), Proof(3, MD5, 7)]


@pytest.mark.parametrize(
    ("outcome", "rests"),
    [
        (failed(code="digest-mismatch"), True),
        (failed(code="size-mismatch", verdict=Verdict.NEXT_SOURCE), True),
        (failed(code="not-data"), True),
        (failed(code="digest-mismatch", verdict=Verdict.RETRY), False),  # another source may mend
        (failed(code="not-found"), False),  # a file may be put back, and asking is cheap
        (published(), False),
    ],
)
def test_only_files_that_their_servers_hold_wrongly_rest(ledger, outcome, rests):
    ledger.record([outcome])
    assert list(ledger.resting(MORNING)) == (["lab/a.npy"] if rests else [])
    assert ledger.resting(MORNING + timedelta(seconds=1)) == {}


@pytest.mark.parametrize("text", ["nul \0 byte", "lone \ud800 surrogate", "emoji 🐭", "line\nfeed"])
def test_text_of_any_origin_is_recorded(ledger, text):
    ledger.record([failed(path=text, reason=text, source=text)])
    (failure,) = ledger.failed()
    expected = text.encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")
    assert (failure.path, failure.reason, failure.source) == (expected, expected, expected)


def test_moments_are_utc_whatever_the_zone_of_the_clock(place):
    tokyo = datetime(2026, 11, 22, 15, tzinfo=timezone(timedelta(hours=9)))
    ledger = Ledger.open(place, now=lambda: tokyo)
    ledger.record([failed()])
    assert ledger.failed()[0].last == MORNING
    assert ledger.failed()[0].last.tzinfo is UTC


def test_runs_are_noted_with_what_they_were_asked_for_and_how_they_ended(ledger, clock):
    ledger.begin_run("one", {"lab": "cortexlab"})
    clock.moment += timedelta(hours=1)
    ledger.begin_run("two", {})
    ledger.end_run("one", Summary(files=3, published=3))
    two, one = ledger.last_runs()
    assert (one.id, one.selection, one.started_at, one.ended_at) == ("one", {"lab": "cortexlab"}, MORNING, clock.moment)
    assert one.summary["published"] == 3
    assert (two.id, two.ended_at, two.summary) == ("two", None, None)
    ledger.begin_run("one", {"again": True})
    assert [run.id for run in ledger.last_runs(limit=1)] == ["one"]


def test_what_became_of_a_run_is_read_back(ledger):
    done = [published("lab/b.npy"), failed("lab/a.npy", bytes=5)]
    ledger.record(done, run="one")
    ledger.record([published("lab/c.npy")], run="two")
    ledger.begin_run("one", {})
    (a, b) = ledger.outcomes("one")
    assert a == done[1]
    assert (b.path, b.state, b.bytes, b.source, b.size) == ("lab/b.npy", State.PUBLISHED, 3, "server", 3)
    assert ledger.outcomes("one", ["lab/b.npy", "lab/c.npy"]) == [b]
    assert ledger.run("one").id == "one"
    assert ledger.run("two") is None


# --- the file -------------------------------------------------------------------------------------


def test_the_ledger_is_for_this_user_only(tmp_path):
    root = tmp_path / "new" / "root with # and ? and %41"
    Ledger.open(root).record([published()])
    assert stat.S_IMODE(ledger_file(root).stat().st_mode) == 0o600
    assert stat.S_IMODE((root / OURS).stat().st_mode) == 0o700
    assert len(Ledger.open(root).known()) == 1


def test_reading_where_there_is_no_ledger_makes_nothing(tmp_path):
    ledger = Ledger.read_only(tmp_path / "not" / "there")
    assert (ledger.known(), ledger.failed(), ledger.counts(), ledger.last_runs()) == ({}, [], {}, [])
    assert names(tmp_path) == []


def test_reading_leaves_every_file_as_it_is(tmp_path, file):
    file.record([published()])
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in names(tmp_path)}
    assert Ledger.read_only(tmp_path).known(["lab/a.npy"]) == {"lab/a.npy": Proof(3, MD5, 7)}
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in names(tmp_path)} == before


def test_an_empty_file_is_a_ledger_that_is_not_made_yet(tmp_path):
    (tmp_path / OURS).mkdir()
    ledger_file(tmp_path).touch()
    assert Ledger.read_only(tmp_path).known() == {}
    Ledger.open(tmp_path).record([published()])
    assert len(Ledger.read_only(tmp_path).known()) == 1


@pytest.mark.parametrize("there", [True, False])
def test_a_ledger_opened_for_reading_refuses_to_write(place, there):
    if there:
        Ledger.open(place)
    with pytest.raises(DownloadError) as refusal:
        Ledger.read_only(place).record([published()])
    assert refusal.value.code == "read-only"


@pytest.mark.parametrize("opening", [Ledger.open, Ledger.read_only])
def test_a_damaged_ledger_is_named_and_left_alone(tmp_path, opening):
    (tmp_path / OURS).mkdir()
    ledger_file(tmp_path).write_bytes(b"this was a database once" * 1000)
    before = ledger_file(tmp_path).read_bytes()
    with pytest.raises(DownloadError) as refusal:
        opening(tmp_path)
    assert refusal.value.code == "ledger-corrupt"
    assert str(ledger_file(tmp_path)) in refusal.value.reason
    assert "move it away" in refusal.value.next_step
    assert ledger_file(tmp_path).read_bytes() == before


def test_a_page_that_was_overwritten_is_found_and_nothing_is_deleted(tmp_path, file):
    file.record(published(f"lab/{i:05}.npy") for i in range(2000))
    size = ledger_file(tmp_path).stat().st_size
    with ledger_file(tmp_path).open("r+b") as pages:
        pages.seek(8192)
        pages.write(b"\xff" * (size - 16384))
    file.close()  # what it has read it believes
    with pytest.raises(DownloadError) as refusal:
        file.known()
    assert refusal.value.code == "ledger-corrupt"
    assert ledger_file(tmp_path).stat().st_size == size


def test_a_locked_ledger_is_told_and_mends_itself(tmp_path):
    ledger = Ledger.open(tmp_path, patience=0.0)
    holder = sqlite3.connect(ledger_file(tmp_path), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(DownloadError) as refusal:
        ledger.record([published()])
    assert (refusal.value.code, refusal.value.verdict) == ("ledger-locked", Verdict.RETRY)
    holder.execute("ROLLBACK")
    ledger.record([published()])
    assert len(ledger.known()) == 1


def test_a_root_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError) as refusal:
        Ledger.open(tmp_path / "file")
    assert refusal.value.code == "bad-root"


@pytest.mark.parametrize("opening", [Ledger.open, Ledger.read_only])
def test_a_root_that_cannot_be_looked_into_is_told(tmp_path, opening):
    with pytest.raises(DownloadError) as refusal:
        opening(tmp_path / ("x" * 300))
    assert refusal.value.code == "name-too-long"


@pytest.mark.parametrize("url", ["nonsense", "nosuchdb://user:secret@host/db"])
def test_a_database_that_cannot_be_had_is_told_without_its_password(url):
    with pytest.raises(DownloadError) as refusal:
        Ledger.open(url)
    assert refusal.value.code == "ledger"
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (sqlite3.SQLITE_FULL, "disk-full"),
        (sqlite3.SQLITE_READONLY, "read-only"),
        (sqlite3.SQLITE_READONLY_DIRECTORY, "read-only"),
        (sqlite3.SQLITE_PERM, "read-only"),
        (sqlite3.SQLITE_CANTOPEN, "read-only"),
        (sqlite3.SQLITE_BUSY, "ledger-locked"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "ledger-locked"),
        (sqlite3.SQLITE_LOCKED, "ledger-locked"),
        (sqlite3.SQLITE_CORRUPT, "ledger-corrupt"),
        (sqlite3.SQLITE_NOTADB, "ledger-corrupt"),
        (sqlite3.SQLITE_IOERR_WRITE, "local-io"),
        (sqlite3.SQLITE_ERROR, "ledger"),
        (None, "ledger"),
    ],
)
def test_an_error_of_the_database_has_one_row(number, code):
    failure = sqlite3.OperationalError("why")
    if number is not None:
        failure.sqlite_errorcode = number
    assert ledger_error(failure, "/root/ledger.db").code == code
