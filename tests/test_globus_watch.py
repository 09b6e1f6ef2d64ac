"""The pure parts of managed transfers: batches, watching, verdicts on what the service says."""

from __future__ import annotations

import sqlite3

import pytest

from tasks.clients.globus.batches import Batch, Destination, Item, plan_batches, transfer_document
from tasks.clients.globus.journal import Entry, SqliteJournal, Stage
from tasks.clients.globus.local import LocalEndpoint
from tasks.clients.globus.options import GlobusOptions
from tasks.clients.globus.watch import Watch
from tasks.clients.seams import Pace
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


def test_a_batch_is_labelled_by_its_files_alone():
    batch, same = Batch(A, (item(1), item(2))), Batch(A, (item(2), item(1)), idle_rounds=2, attempts=3)
    assert batch.label == same.label
    assert batch.label != Batch(A, (item(1),)).label
    assert len(batch.label) <= 128


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


def test_the_journal_keeps_what_is_open_across_processes(tmp_path):
    journal = SqliteJournal(tmp_path / "ours" / "journal.sqlite")
    for number in range(4):
        journal.begin(Entry(str(number), {"number": number}))
    journal.submitted("1", "task-1")
    journal.ended("2", Stage.DONE)
    journal.ended("3", Stage.CANCELLED)
    journal.close()
    assert SqliteJournal(tmp_path / "ours" / "journal.sqlite").open_entries() == [
        Entry("0", {"number": 0}),
        Entry("1", {"number": 1}, "task-1"),
    ]
    assert (tmp_path / "ours" / "journal.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_submission_is_written_down_once(tmp_path):
    journal = SqliteJournal(tmp_path / "journal.sqlite")
    journal.begin(Entry("1", {}))
    with pytest.raises(sqlite3.IntegrityError):
        journal.begin(Entry("1", {}))


def test_a_journal_that_cannot_be_made_says_where(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=str(tmp_path)):
        SqliteJournal(tmp_path / "file" / "journal.sqlite")


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
