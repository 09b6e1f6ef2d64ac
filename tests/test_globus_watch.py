"""The pure parts of managed transfers: batches, watching, verdicts on what the service says."""

from __future__ import annotations

import os

import pytest

from tasks.clients import owners
from tasks.clients.globus import prune
from tasks.clients.globus.batches import Batch, Destination, Item, plan_batches, transfer_document
from tasks.clients.globus.journal import Entry, Journal
from tasks.clients.globus.local import LocalEndpoint
from tasks.clients.globus.options import GlobusOptions
from tasks.clients.globus.watch import Watch
from tasks.clients.seams import Pace
from tasks.clients.tree import OURS, Tree
from tasks.clients.verdicts import DownloadError, Verdict, error, globus_event_path, globus_skipped, globus_task

A, B = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
HERE = "1b6f5a7c-a7a9-11e8-96fa-0a6d4e044368"


def item(number, *, source=A, size=10):
    return Item(f"{source}{number}", f"globus://{source}/f{number}", size)


# --- batches ----------------------------------------------------------------------------------------


def test_batches_keep_to_one_pair_of_endpoints_and_the_largest_goes_first():
    batches = plan_batches([item(1), item(2, source=B, size=99), item(3)], GlobusOptions())
    assert [(batch.source, len(batch.items), batch.bytes) for batch in batches] == [(B, 1, 99), (A, 2, 20)]


@pytest.mark.parametrize(
    ("count", "options", "sizes"),
    [
        (5, {"batch_files": 2}, [2, 2, 1]),
        (5, {"batch_bytes": 25}, [2, 2, 1]),
        (3, {"batch_bytes": 5}, [1, 1, 1]),
        (1_000, {}, [500, 500]),
        (999, {}, [999]),
        (12_001, {}, [5_000, 5_000, 2_001]),
    ],
)
def test_batches_are_bounded_by_files_and_bytes_and_large_sets_are_two_at_least(count, options, sizes):
    batches = plan_batches([item(number) for number in range(count)], GlobusOptions(**options))
    assert sorted((len(batch.items) for batch in batches), reverse=True) == sizes


def test_long_paths_bound_a_batch_too():
    items = [Item(str(number), f"globus://{A}/{'x' * 4000}{number}") for number in range(500)]
    assert len(plan_batches(items, GlobusOptions())) == 2


def test_a_batch_is_labelled_by_its_files_and_where_they_go(tmp_path):
    here, there = (Destination(LocalEndpoint(HERE, tmp_path, str(tmp_path)), tmp_path / name) for name in "ab")
    batch, same = Batch(A, (item(1), item(2))), Batch(A, (item(2), item(1)), idle_rounds=2, attempts=3)
    assert batch.label(here) == same.label(here)
    assert len({batch.label(here), batch.label(there), Batch(A, (item(1),)).label(here)}) == 3
    assert len(batch.label(here)) <= 128


@pytest.mark.parametrize("field", ["batch_files", "stall_seconds", "in_flight"])
def test_options_that_make_no_sense_are_refused(field):
    with pytest.raises(ValueError, match=field):
        GlobusOptions(**{field: 0})


def test_large_files_are_given_the_time_that_they_take():
    options = GlobusOptions()
    assert options.deadline(0) == 86_400
    assert options.deadline(10**13) > 100 * 86_400
    assert options.stall(10**12) > 5 * 3600


def test_digests_travel_only_where_asked_and_only_once(tmp_path):
    destination = Destination(LocalEndpoint(HERE, tmp_path, str(tmp_path)), tmp_path)
    files = (Item("m", f"globus://{A}/m", 1, "a" * 32), Item("s", f"globus://{A}/s", 1, "b" * 40), item(3))

    def algorithms(attempts, **options):
        batch = Batch(A, files, attempts=attempts)
        document = transfer_document(
            batch, destination, GlobusOptions(**options), submission_id="s", now=0.0, verify=True
        )
        return [row.get("checksum_algorithm") for row in document["DATA"]]

    assert algorithms(1) == [None] * 3
    assert algorithms(1, external_checksum=True) == ["MD5", "SHA1", None]
    assert algorithms(2, external_checksum=True) == [None] * 3


# --- the journal --------------------------------------------------------------------------------------


def document(*names):
    return {"DATA": [{"destination_path": f"/x/{name}"} for name in names]}


def test_the_journal_keeps_what_is_open(tmp_path):
    journal = Journal(tmp_path / "ours")
    for number in "012":
        journal.begin(Entry(number, document(number)))
    journal.submitted("1", document("1"), "task-1")
    journal.ended("2")
    later = Journal(tmp_path / "ours")
    assert later.entries() == [Entry("0", document("0")), Entry("1", document("1"), "task-1")]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "ours").iterdir()} == {0o600}


def test_what_a_living_run_moves_is_its_own_until_it_lets_go(tmp_path):
    mine, theirs = Journal(tmp_path), Journal(tmp_path)
    entry = Entry("0", document("0"))
    mine.begin(entry)
    assert theirs.is_held("0")
    assert not theirs.claim(entry)
    mine.close()
    assert not theirs.is_held("0")
    assert theirs.claim(entry)
    assert not mine.claim(entry)
    theirs.ended("0")
    assert list(tmp_path.iterdir()) == []


def test_a_claim_of_another_machine_holds_as_long_as_it_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(owners, "machine", lambda: "0123456789abcdef")
    owners._process.cache_clear()
    theirs = Journal(tmp_path)
    theirs.begin(Entry("0", document("0")))
    monkeypatch.undo()
    owners._process.cache_clear()
    (path,) = tmp_path.iterdir()
    long_ago = path.stat().st_mtime - owners.LEASE_SECONDS - 5
    os.utime(path, (long_ago, long_ago))
    theirs.renew("0")
    assert not Journal(tmp_path).claim(Entry("0", {}))
    os.utime(path, (long_ago, long_ago))
    assert Journal(tmp_path).claim(Entry("0", {}))
    theirs.renew("0")


@pytest.mark.parametrize("content", ["", "[]", '{"document": 5, "task_id": ""}', "{"])
def test_a_submission_that_cannot_be_read_is_left_alone(tmp_path, content):
    (tmp_path / "0.free.task").write_text(content)
    assert Journal(tmp_path).entries() == []
    assert (tmp_path / "0.free.task").exists()


def test_a_journal_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=str(tmp_path)):
        Journal(tmp_path / "file" / "ours").begin(Entry("0", document("0")))


def test_a_directory_that_another_download_has_removed_is_made_again(tmp_path):
    journal = Journal(tmp_path / "ours")
    journal.begin(Entry("0", document("0")))
    journal.ended("0")
    (tmp_path / "ours").rmdir()
    journal.begin(Entry("1", document("1")))
    assert len(journal.entries()) == 1


# --- leftovers ------------------------------------------------------------------------------------------


def aged(path, days):
    path.write_bytes(b"x") if not path.exists() else None
    os.utime(path, (path.stat().st_mtime - days * 86_400,) * 2)
    return path


def test_what_nobody_wants_is_removed_after_its_time(tmp_path):
    root, tmp_path = tmp_path, tmp_path / OURS / "globus"
    tmp_path.mkdir(parents=True)
    dead, open_ = Journal(tmp_path), Journal(tmp_path)
    dead.begin(Entry("dead", document("of-the-dead")))
    dead.close()
    open_.begin(Entry("open", document("wanted")))
    submission = aged(next(tmp_path.glob("dead.*")), 9)
    old = [aged(tmp_path / name, 9) for name in ("of-the-dead", "nobodys", "half.new")]
    kept = [aged(tmp_path / "wanted", 9), aged(tmp_path / "young", 1), next(tmp_path.glob("open.*"))]
    prune(Tree(root), 7 * 86_400, Pace())
    assert not any(path.exists() for path in (submission, *old))
    assert all(path.exists() for path in kept)


def test_there_may_be_nothing_to_prune(tmp_path):
    prune(Tree(tmp_path / "none"), 0, Pace())


# --- watching -------------------------------------------------------------------------------------------


class Steps(Pace):
    """A clock that only the test moves."""

    def __init__(self):
        super().__init__()
        self.time = 0.0

    def monotonic(self):
        return self.time

    def uniform(self, low, high):
        return (low + high) / 2


@pytest.fixture
def pace():
    return Steps()


def watch(pace, **options):
    return Watch(GlobusOptions(**options), pace)


def test_looks_become_rarer_without_progress_and_frequent_with_it(pace):
    watching, gaps = watch(pace), []
    for moved in (0, 0, 0, 0, 0, 0, 0, 5, 5):
        pace.time = watching.due
        watching.see({"status": "ACTIVE", "nice_status": "OK", "bytes_transferred": moved})
        gaps.append(watching.due - pace.time)
    assert gaps == [1, 2, 5, 10, 30, 30, 30, 1, 2]


def test_a_service_that_asks_to_wait_is_not_asked_sooner(pace):
    watching = watch(pace)
    watching.postpone(error("throttled", retry_after=120))
    assert watching.due == 120


def seen(pace, seconds, *documents, **options):
    """The verdict after some documents, so many seconds apart."""
    watching = watch(pace, **options)
    for document in documents:
        pace.time += seconds
        watching.see({"status": "ACTIVE", "nice_status": "OK", **document})
    found = watching.verdict("Task 1.")
    return found.code if found else None


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({}, None),
        ({"nice_status": "Queued"}, None),
        ({"nice_status": "ENDPOINT_TOO_BUSY"}, None),
        ({"nice_status": "VERIFY_CHECKSUM"}, None),
        ({"nice_status": "SOMETHING_NEW"}, None),
        ({"nice_status": "GC_NOT_CONNECTED"}, None),
        ({"nice_status": None}, None),
        ({"nice_status": "GC_PAUSED"}, "globus-gc-paused"),
        ({"nice_status": "PERMISSION_DENIED"}, "globus-destination"),
        ({"nice_status": "QUOTA_EXCEEDED"}, "globus-quota"),
        ({"nice_status": "FILE_NOT_FOUND"}, "not-found"),
        ({"is_paused": True}, "globus-paused"),
        ({"status": "INACTIVE"}, "globus-inactive"),
    ],
)
def test_a_task_is_given_up_at_once_only_where_waiting_is_in_vain(pace, document, code):
    assert seen(pace, 1, document) == code


def test_a_lost_endpoint_is_waited_for_from_when_it_was_lost(pace):
    away = {"nice_status": "GC_NOT_CONNECTED"}
    assert seen(pace, 100, away, away, away, offline_seconds=250) is None
    assert seen(pace, 100, away, away, away, away, offline_seconds=250) == "globus-offline"
    assert seen(pace, 100, away, away, away, {}, away, offline_seconds=250) is None


def test_a_stall_is_no_progress_of_any_kind_and_a_queue_is_none(pace):
    still = {"bytes_transferred": 7}
    assert seen(pace, 100, still, still, still, stall_seconds=250) is None
    assert seen(pace, 100, still, still, still, still, stall_seconds=250) == "globus-stalled"
    for growing in ("files", "files_skipped", "bytes_checksummed", "subtasks_succeeded"):
        rows = [{**still, growing: number} for number in range(4)]
        assert seen(pace, 100, *rows, stall_seconds=250) is None
    queued = {"nice_status": "Queued"}
    assert seen(pace, 100, queued, queued, queued, queued, stall_seconds=250) is None
    assert seen(pace, 100, queued, queued, queued, queued, deadline_seconds=350) == "globus-deadline"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"status": "SUCCEEDED"}, "globus-left"),
        ({"status": "FAILED", "fatal_error": {"code": "CANCELED"}}, "globus-cancelled"),
        ({"status": "FAILED", "fatal_error": {"code": "EXPIRED"}}, "globus-deadline"),
        ({"status": "FAILED", "fatal_error": {"code": "ENDPOINT_ERROR"}}, "globus-endpoint"),
        ({"status": "FAILED", "fatal_error": None}, "globus-endpoint"),
    ],
)
def test_only_one_end_is_a_good_one(pace, document, code):
    watching = watch(pace)
    watching.see(document)
    assert watching.ended
    assert watching.succeeded == (document["status"] == "SUCCEEDED")
    assert watching.end("Task 1.").code == code


@pytest.mark.parametrize("status", ["ACTIVE", "INACTIVE", None])
def test_nothing_else_is_an_end(pace, status):
    watching = watch(pace)
    watching.see({"status": status})
    assert not watching.ended


# --- what the service says -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "row", "verdict"),
    [
        ("PERMISSION_DENIED", "globus-destination", Verdict.NEXT_SOURCE),
        ("QUOTA_EXCEEDED", "globus-quota", Verdict.STOP_RUN),
        ("GC_NOT_CONNECTED", "globus-offline", Verdict.NEXT_SOURCE),
        ("GC_PAUSED", "globus-gc-paused", Verdict.NEXT_SOURCE),
        ("PAUSED_BY_ADMIN", "globus-paused", Verdict.NEXT_SOURCE),
        ("AUTH", "globus-inactive", Verdict.NEXT_SOURCE),
        ("CANCELED", "globus-cancelled", Verdict.NEXT_SOURCE),
        ("EXPIRED", "globus-deadline", Verdict.NEXT_SOURCE),
        ("VERIFY_CHECKSUM", "globus-checksum", Verdict.RETRY),
        ("CONNECTION_RESET", "globus-endpoint", Verdict.RETRY),
        ("TIMEOUT", "globus-endpoint", Verdict.RETRY),
        ("UNKNOWN", "globus-endpoint", Verdict.RETRY),
    ],
)
def test_a_task_s_trouble_has_one_verdict(code, row, verdict):
    assert (globus_task(code, "").code, globus_task(code, "").verdict) == (row, verdict)


@pytest.mark.parametrize(
    ("code", "row"),
    [("FILE_NOT_FOUND", "not-found"), ("PERMISSION_DENIED", "globus-forbidden"), ("AMBIGUOUS_PATH", "bad-request")],
)
def test_a_skipped_path_has_one_verdict(code, row):
    assert globus_skipped(code, "").code == row


@pytest.mark.parametrize(
    ("details", "path"),
    [
        ('{"context":[{"operation":"File Scan","path":"/a b/\\"c\\u00e9.npy"}],"error":{"code":550}}', '/a b/"cé.npy'),
        ("Error (transfer)\nEndpoint: x (y)\nFile: /~/lab/a b.npy\nCommand: RETR", "/~/lab/a b.npy"),
        ("Scanned 100 file(s)", ""),
        ("", ""),
    ],
)
def test_the_path_of_an_event_is_found_in_both_of_its_forms(details, path):
    assert globus_event_path(details) == path
