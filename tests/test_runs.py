"""Who takes part in a run: its flow and its batches, and nobody any more once it is stopped."""

from __future__ import annotations

import pytest

from tasks.clients.verdicts import DownloadError, Verdict
from tasks.transfer.runs import leading, taking_part


@pytest.fixture(autouse=True)
def no_alyx(monkeypatch):
    monkeypatch.setattr("tasks.transfer.runs.AlyxClient", lambda: None)
    monkeypatch.setattr("tasks.transfer.runs.repositories", lambda _: {})


def test_those_who_take_part_at_once_share_one_run(tmp_path):
    with leading("shared", tmp_path) as flow, taking_part("shared", tmp_path) as batch:
        assert flow is batch
    with taking_part("shared", tmp_path) as later:
        assert later is not flow


def test_a_batch_that_waited_for_its_thread_does_not_begin_once_the_flow_has_left_a_stopped_run(tmp_path):
    with leading("stopped", tmp_path) as flow:
        flow.pace.stop.set()
    for _ in range(2):
        with pytest.raises(DownloadError) as refusal, taking_part("stopped", tmp_path):
            pytest.fail("nobody is there to stop it")
        assert (refusal.value.code, refusal.value.verdict) == ("stopped", Verdict.STOP_RUN)
    with taking_part("another", tmp_path) as other:
        assert not other.pace.stop.is_set()


def test_a_flow_that_is_run_again_may_begin_a_run_that_was_stopped(tmp_path):
    with leading("again", tmp_path) as flow:
        flow.pace.stop.set()
    with leading("again", tmp_path) as flow, taking_part("again", tmp_path) as batch:
        assert flow is batch
        assert not flow.pace.stop.is_set()


def test_a_process_that_only_works_on_batches_may_go_on_with_a_run_that_stopped_one(tmp_path):
    with taking_part("batches", tmp_path) as first:
        first.pace.stop.set()
    with taking_part("batches", tmp_path) as second:
        assert not second.pace.stop.is_set()
