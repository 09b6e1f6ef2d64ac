"""Managed transfers against the emulator: nothing is lost, nothing is sent twice, and nothing is waited for in vain."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.clients.globus.batches import Item
from tasks.clients.globus.journal import Journal
from tasks.clients.verdicts import DownloadError, Verdict

pytest_plugins = ["globus_lab"]


def test_files_are_staged_and_told_one_by_one(lab):
    items = lab.items(250)
    results = lab.move(items)
    assert all(results[item.key].staged.read_bytes() == (lab.source / item.key).read_bytes() for item in items)
    assert sum(result.bytes for result in results.values()) == sum(item.size for item in items)
    (task,) = lab.tasks()
    assert (task["status"], task["files_transferred"]) == ("SUCCEEDED", 250)
    assert (task["sync_level"], task["verify_checksum"], task["skip_source_errors"]) == (3, True, True)
    assert task["fail_on_quota_errors"]


def test_sources_travel_apart_and_large_sets_in_several_tasks(lab):
    other = "bbbbbbbb-0000-4000-8000-000000000002"
    lab.emulator.endpoint(other, root=str(lab.source), display_name="other")
    items = lab.items(5)
    items.append(Item("from other", f"globus://{other}/day/0000.npy", 9))
    results = lab.move(items, batch_files=2)
    assert len(results) == 6
    assert sorted(task["files"] for task in lab.tasks()) == [1, 1, 2, 2]


def test_a_missing_and_a_forbidden_file_fail_alone(lab):
    good = lab.write("good.npy")
    lab.write("secret.npy")
    lab.emulator.path_fault("/secret.npy", "PERMISSION_DENIED", op="scan")
    absent = Item("absent.npy", f"globus://{lab.STORE}/absent.npy")
    lab.move([good, absent, Item("secret.npy", f"globus://{lab.STORE}/secret.npy")])
    assert lab.codes() == {"good.npy": "", "absent.npy": "not-found", "secret.npy": "globus-forbidden"}
    assert "/absent.npy: FILE_NOT_FOUND" in lab.results["absent.npy"].failure.reason
    assert len(lab.tasks()) == 1


def test_an_address_that_is_none_fails_alone(lab):
    lab.move([*lab.items(1), Item("odd", "http://somewhere/else")])
    assert lab.codes() == {"day/0000.npy": "", "odd": "not-addressable"}


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_lost_reply_makes_no_second_task(lab, kind):
    lab.emulator.http_fault("POST /v0.10/transfer", kind)
    lab.move(lab.items(3))
    assert lab.submissions() == 2
    assert len(lab.tasks()) == 1


def test_a_submission_without_an_answer_is_taken_up_by_the_next_run(lab):
    items = lab.items(3)
    lab.emulator.http_fault("POST /v0.10/transfer", "drop_after", times=5)
    lab.move(items)
    assert set(lab.codes().values()) == {"connect"}
    lab.results.clear()
    lab.move(items)
    assert set(lab.codes().values()) == {""}
    assert len(lab.tasks()) == 1


def test_an_open_submission_that_is_refused_now_fails_its_files_alone(lab):
    items = lab.items(2)
    lab.emulator.http_fault("POST /v0.10/transfer", "drop_before", times=5)
    lab.move(items[:1])
    lab.results.clear()
    refusal = {"code": "PermissionDenied", "message": "no"}
    lab.emulator.http_fault("POST /v0.10/transfer", status=403, body=refusal)
    lab.move(items)
    assert lab.codes() == {"day/0000.npy": "globus-forbidden", "day/0001.npy": ""}


KILLED = """
import os, pathlib, sys
from deployments.sandbox.globus import RemoteEmulator
from globus_lab import Lab

lab = Lab(RemoteEmulator(sys.argv[1]), pathlib.Path(sys.argv[2]))
lab.pace.hooks[1] = lambda: os._exit(9)
lab.move(lab.items(4))
"""


def test_a_killed_run_finds_its_task_again(lab, tmp_path):
    lab.emulator.pace(files=2)
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here.parent}:{here}"}
    command = [sys.executable, "-c", KILLED, lab.emulator.url, str(tmp_path)]
    assert subprocess.run(command, env=environment, check=False, timeout=60).returncode == 9
    assert [task["status"] for task in lab.tasks()] == ["ACTIVE"]
    lab.emulator.pace(files=None)
    lab.move(lab.items(4))
    assert set(lab.codes().values()) == {""}
    assert [task["status"] for task in lab.tasks()] == ["SUCCEEDED"]


def test_a_lost_journal_is_made_good_by_the_label(lab):
    items = lab.items(3)
    lab.emulator.pace(files=1)
    lab.pace.hooks[2] = lambda: (_ for _ in ()).throw(SystemError("the machine is gone"))
    lab.emulator.http_fault("POST /v0.10/task/*/cancel", status=500)
    with pytest.raises(SystemError):
        lab.move(items)
    for path in lab.staging.glob("*.task"):
        path.unlink()
    lab.pace.hooks[len(lab.pace.waits) + 2] = lambda: lab.emulator.pace(files=None)
    lab.move(items)
    assert set(lab.codes().values()) == {""}
    assert len(lab.tasks()) == 1


def test_a_stop_cancels_the_tasks_and_the_next_run_converges(lab):
    items = lab.items(4)
    lab.emulator.pace(files=2)
    lab.pace.hooks[3] = lab.pace.stop.set
    with pytest.raises(DownloadError) as caught:
        lab.move(items)
    assert (caught.value.code, lab.results) == ("stopped", {})
    (task,) = lab.tasks()
    assert (task["status"], task["fatal_error"]["code"]) == ("FAILED", "CANCELED")
    lab.pace.stop.clear()
    lab.emulator.pace(files=None)
    lab.move(items)
    assert set(lab.codes().values()) == {""}
    # Two files were there, and were not moved again.
    assert [(task["files_skipped"], task["files_transferred"]) for task in lab.tasks()] == [(2, 2), (0, 2)]


def test_a_stalled_file_is_given_up_and_holds_no_other(lab):
    items = lab.items(3)
    lab.emulator.path_fault("/day/0001.npy", "STALL", times=None)
    lab.move(items, stall_seconds=120)
    assert lab.codes() == {"day/0000.npy": "", "day/0001.npy": "globus-stalled", "day/0002.npy": ""}
    assert lab.results["day/0001.npy"].failure.verdict is Verdict.RETRY
    statuses = [task["status"] for task in lab.tasks()]
    assert statuses == ["FAILED"] * 4  # one that moved two files, and three in vain
    assert lab.pace.elapsed < 1200


@pytest.mark.parametrize(("times", "code"), [(1, ""), (None, "globus-endpoint")])
def test_a_failed_task_is_no_success_and_what_it_left_is_sent_again(lab, times, code):
    items = lab.items(2)
    lab.emulator.path_fault("/day/0001.npy", "FAIL_TASK", times=times)
    lab.move(items)
    assert lab.codes() == {"day/0000.npy": "", "day/0001.npy": code}
    assert lab.tasks()[-1]["status"] == "FAILED"
    if code:
        assert "ENDPOINT_ERROR" in lab.results["day/0001.npy"].failure.reason


def test_trouble_that_passes_is_waited_for(lab):
    lab.emulator.path_fault("/day/0000.npy", "TIMEOUT", times=2)
    lab.move(lab.items(1))
    assert lab.codes() == {"day/0000.npy": ""}
    assert lab.tasks()[0]["faults"] == 2


def test_corruption_on_the_way_is_found_and_mended(lab):
    lab.emulator.path_fault("/day/0000.npy", "CORRUPT", times=1)
    (result,) = lab.move(lab.items(1)).values()
    assert result.staged.read_bytes() == b"content 0"
    assert lab.progress[-1] == (9, 1)  # 18 bytes have travelled


def test_a_missing_file_that_the_service_does_not_skip_fails_within_three_events(lab):
    items = lab.items(3)
    lab.emulator.path_fault("*/" + items[1].staged_name, "FILE_NOT_FOUND", side="destination", times=None)
    lab.move(items)
    assert lab.codes() == {"day/0000.npy": "", "day/0001.npy": "not-found", "day/0002.npy": ""}
    assert max(task["faults"] for task in lab.tasks()) <= 3


def test_a_destination_that_cannot_be_written_needs_a_human_at_once(lab):
    lab.emulator.path_fault("*", "PERMISSION_DENIED", side="destination", times=None)
    lab.move(lab.items(4), batch_files=2)
    assert set(lab.codes().values()) == {"globus-destination"}
    assert {result.failure.verdict for result in lab.results.values()} == {Verdict.NEXT_SOURCE}
    assert lab.pace.elapsed < 60
    assert {task["status"] for task in lab.tasks()} == {"FAILED"}


def test_a_full_destination_stops_the_run_once_nothing_fits_any_more(lab):
    lab.emulator.path_fault("*", "QUOTA_EXCEEDED", side="destination", times=None)
    lab.move(lab.items(40), batch_files=10)
    codes = list(lab.codes().values())
    assert (codes.count("globus-quota-file"), codes.count("globus-quota")) == (3, 37)
    assert {result.failure.verdict for result in lab.results.values() if result.failure.code == "globus-quota"} == {
        Verdict.STOP_RUN
    }
    assert lab.pace.elapsed < 60
    assert {task["status"] for task in lab.tasks()} == {"FAILED"}


def test_three_bad_files_among_five_hundred_fail_alone_and_soon(lab):
    items = lab.items(500)
    lab.emulator.path_fault("/day/0007.npy", "PERMISSION_DENIED", op="scan", times=None)
    lab.emulator.path_fault("*/" + items[250].staged_name, "QUOTA_EXCEEDED", side="destination", times=None)
    (lab.source / items[499].key).unlink()
    lab.move(items)
    failures = {key: code for key, code in lab.codes().items() if code}
    assert failures == {
        "day/0007.npy": "globus-forbidden",
        "day/0250.npy": "globus-quota-file",
        "day/0499.npy": "not-found",
    }
    assert all(lab.results[key].failure.next_step for key in failures)
    assert "QUOTA_EXCEEDED" in lab.results["day/0250.npy"].failure.reason
    good = [result for result in lab.results.values() if not result.failure]
    assert len(good) == 497
    assert all(result.staged.read_bytes() == (lab.source / result.item.key).read_bytes() for result in good)
    assert {task["status"] for task in lab.tasks()} == {"SUCCEEDED", "FAILED"}
    assert lab.pace.elapsed < 60


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_submission_that_is_put_off_is_sent_when_globus_asks_for_it(lab, status):
    lab.emulator.http_fault("POST /v0.10/transfer", status=status, headers={"Retry-After": "45"}, times=2)
    lab.move(lab.items(2))
    assert set(lab.codes().values()) == {""}
    assert [round(seconds) for seconds in lab.pace.waits][:2] == [45, 45]
    assert len(lab.tasks()) == 1


def test_an_id_that_is_none_of_globus_s_never_becomes_a_file_name(lab):
    lab.emulator.http_fault("GET /v0.10/submission_id", status=200, body={"value": "../../../escape"}, times=None)
    lab.move(lab.items(1))
    assert set(lab.codes().values()) == {"protocol"}
    assert not list(lab.root.parent.rglob("*escape*"))


def test_empty_files_and_files_of_unknown_size_come_too(lab):
    empty, unknown = lab.write("empty.npy", b""), lab.write("unknown.npy")
    lab.move([empty, Item(unknown.key, unknown.address)])
    assert lab.results["empty.npy"].staged.read_bytes() == b""
    assert lab.results["unknown.npy"].bytes == len(b"hello-data")


def test_a_clean_task_is_told_without_its_lists(lab):
    lab.move(lab.items(300))
    assert not lab.emulator.requests("GET /v0.10/task/" + lab.tasks()[0]["task_id"] + "/")
    assert len(lab.emulator.requests()) < 12


def held(lab):
    """Files that wait, so that something can befall their task."""
    lab.emulator.pace(files=0)
    return lab.items(2)


def newest(lab):
    return lab.tasks()[0]["task_id"]


def test_a_paused_task_fails_fast_with_the_administrators_words(lab):
    items = held(lab)
    lab.pace.hooks[2] = lambda: lab.emulator.control(f"task/{newest(lab)}", is_paused=True)
    lab.move(items)
    assert set(lab.codes().values()) == {"globus-paused"}
    assert "Paused by the sandbox" in lab.results["day/0000.npy"].failure.reason
    assert lab.tasks()[0]["fatal_error"]["code"] == "CANCELED"


def test_an_inactive_task_is_not_taken_for_a_done_one(lab):
    items = held(lab)
    lab.pace.hooks[2] = lambda: lab.emulator.control(f"task/{newest(lab)}", status="INACTIVE")
    lab.move(items)
    assert set(lab.codes().values()) == {"globus-inactive"}


def test_a_personal_endpoint_is_waited_for_so_long_and_no_longer(lab):
    items = held(lab)
    lab.pace.hooks[2] = lambda: lab.emulator.endpoint(lab.LOCAL, connected=False)
    lab.emulator.pace(files=None, retry_seconds=10)
    lab.emulator.pace(files=0)
    lab.pace.hooks[3] = lambda: lab.emulator.pace(files=None)
    lab.move(items, offline_seconds=120)
    assert set(lab.codes().values()) == {"globus-offline"}
    assert 120 < lab.pace.elapsed < 300


def test_a_personal_endpoint_that_comes_back_in_time_costs_nothing(lab):
    items = held(lab)
    lab.emulator.pace(retry_seconds=10)
    lab.pace.hooks[2] = lambda: (lab.emulator.endpoint(lab.LOCAL, connected=False), lab.emulator.pace(files=None))
    lab.pace.hooks[8] = lambda: lab.emulator.endpoint(lab.LOCAL, connected=True)
    lab.move(items, offline_seconds=120)
    assert set(lab.codes().values()) == {""}
    assert len(lab.tasks()) == 1


@pytest.mark.parametrize(
    ("change", "code"), [({"connected": False}, "globus-offline"), ({"paused": True}, "globus-gc-paused")]
)
def test_a_personal_endpoint_that_is_away_is_told_before_submitting(lab, change, code):
    lab.emulator.endpoint(lab.LOCAL, **change)
    lab.move(lab.items(2))
    assert set(lab.codes().values()) == {code}
    assert "here" in lab.results["day/0000.npy"].failure.reason
    assert lab.submissions() == 0


def test_a_deadline_ends_a_task_that_gets_nowhere(lab):
    lab.emulator.pace(files=0)
    lab.move(lab.items(1), deadline_seconds=600, stall_seconds=10_000)
    assert lab.codes() == {"day/0000.npy": "globus-deadline"}
    assert lab.pace.elapsed < 700


def test_somebody_elses_cancellation_is_respected(lab):
    items = held(lab)
    lab.pace.hooks[2] = lambda: lab.transfer.cancel_task(newest(lab))
    lab.move(items)
    assert set(lab.codes().values()) == {"globus-cancelled"}
    assert len(lab.tasks()) == 1


def test_an_outage_of_the_service_does_not_touch_its_tasks(lab):
    items = held(lab)
    lab.pace.hooks[2] = lambda: lab.emulator.http_fault("GET /v0.10/task/*", status=503, times=6)
    lab.pace.hooks[6] = lambda: lab.emulator.pace(files=None)
    lab.move(items)
    assert set(lab.codes().values()) == {""}
    assert len(lab.tasks()) == 1


def test_a_service_that_asks_for_patience_gets_it(lab):
    items = held(lab)
    lab.pace.hooks[2] = lambda: lab.emulator.http_fault("GET /v0.10/task/*", status=429, headers={"Retry-After": "77"})
    lab.pace.hooks[3] = lambda: lab.emulator.pace(files=None)
    lab.move(items)
    assert 77 in [round(seconds) for seconds in lab.pace.waits]


def test_a_task_that_the_service_has_forgotten_is_sent_again(lab):
    items = held(lab)
    gone = {"code": "ClientError.NotFound", "message": "No such task"}
    lab.pace.hooks[2] = lambda: lab.emulator.http_fault("GET /v0.10/task/*", status=404, body=gone)
    lab.pace.hooks[3] = lambda: lab.emulator.pace(files=None)
    lab.move(items)
    assert set(lab.codes().values()) == {""}


def test_an_emulator_that_restarts_goes_on_and_so_does_the_client(lab):
    items = held(lab)
    lab.pace.hooks[3] = lab.emulator.restart
    lab.move(items)
    assert set(lab.codes().values()) == {""}
    assert len(lab.tasks()) == 1
    lab.emulator.freeze()


def test_an_endpoint_that_shows_another_directory_is_found_out(lab):
    lab.emulator.endpoint(lab.LOCAL, root=str(lab.source), paths=[])
    lab.move(lab.items(1))
    assert lab.codes() == {"day/0000.npy": "globus-invisible"}
    assert str(lab.staging) in lab.results["day/0000.npy"].failure.reason


def test_an_unknown_endpoint_and_a_missing_consent_say_which(lab):
    nobody = "dddddddd-0000-4000-8000-000000000004"
    lab.emulator.endpoint(lab.STORE, entity_type="GCSv5_mapped_collection", data_access=True)
    item = lab.write("a.npy")
    lab.move([item, Item("lost", f"globus://{nobody}/a.npy")])
    assert lab.codes() == {"a.npy": "globus-consent", "lost": "globus-no-endpoint"}
    assert f"scopes/{lab.STORE}/data_access" in lab.results["a.npy"].failure.reason
    assert "prefect-alyx setup globus" in lab.results["a.npy"].failure.next_step


def test_a_refused_login_stops_the_run_and_the_journal_keeps_the_task(lab):
    items = held(lab)
    lab.pace.hooks[2] = lambda: lab.emulator.tokens(expire=True)
    lab.move(items, batch_files=1)
    assert set(lab.codes().values()) == {"globus-login"}
    assert len([entry for entry in Journal(lab.staging).entries() if entry.task_id]) == 2


def test_external_checksums_that_differ_fail_their_file_alone(lab):
    good, bad = lab.items(2)
    bad = Item(bad.key, bad.address, bad.size, "0" * 32)
    lab.move([good, bad], external_checksum=True)
    assert lab.codes() == {good.key: "", bad.key: ""}  # the digest is compared where the file is published
    assert len(lab.tasks()) == 2


def test_progress_never_falls(lab):
    lab.emulator.path_fault("/day/0003.npy", "CORRUPT", times=3)
    items = lab.items(6)
    lab.move(items, batch_files=2)
    assert lab.progress == sorted(lab.progress)
    assert lab.progress[-1] == (sum(item.size for item in items), 6)


def test_all_tasks_are_watched_by_one_thread_at_most_once_a_second(lab):
    before = threading.active_count()
    counts = []
    lab.pace.hooks[4] = lambda: counts.append(threading.active_count())
    lab.emulator.pace(files=0)
    lab.pace.hooks[12] = lambda: lab.emulator.pace(files=None)
    lab.move(lab.items(6), batch_files=2)
    assert counts == [before]
    looks = len(lab.emulator.requests("GET /v0.10/task/")) - 9  # three tasks, three lists each
    assert looks <= lab.pace.elapsed + 1
