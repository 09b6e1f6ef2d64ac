"""A run does not depend on the Prefect server once it has begun."""

from __future__ import annotations

import contextlib
import logging
import threading
from dataclasses import replace

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.exit_codes import DONE, FAILED, STOPPED, TEMPORARY
from flows.fetched import Fetched, StoppedError
from flows.local_server import _free_port as free_port
from tasks.clients.seams import Pace
from tasks.model import Outcome, State, Summary
from tasks.telling.progress import tolerant
from tasks.transfer.limits import existing, slots


@pytest.fixture
def no_server():
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield


def test_what_cannot_be_told_is_logged_and_passed_over(caplog):
    with caplog.at_level(logging.WARNING), tolerant():
        raise httpx.ConnectError("refused")
    assert "goes on without telling it: refused" in caplog.text


def test_other_errors_are_not_passed_over():
    with pytest.raises(OSError, match="disk"), tolerant():
        raise OSError("disk")


def test_without_a_server_no_limit_holds_anybody(no_server):
    said = []
    assert existing(["alyx-host-a"]) == []
    with slots(["alyx-host-a"], Pace(threading.Event()), said.append):
        assert said == []


def test_a_server_that_goes_away_while_slots_are_asked_for_holds_nobody(no_server, monkeypatch, caplog):
    monkeypatch.setattr("tasks.transfer.limits.existing", list)  # it was there a moment ago
    with caplog.at_level(logging.WARNING), slots(["alyx-host-a"], Pace(threading.Event()), pytest.fail):
        assert "goes on without them" in caplog.text


def test_slots_that_a_server_has_forgotten_are_given_back_in_vain_and_nobody_minds(monkeypatch):
    @contextlib.contextmanager
    def forgotten(*_, **__):
        yield
        raise httpx.ConnectError("refused")

    monkeypatch.setattr("tasks.transfer.limits.existing", list)
    monkeypatch.setattr("tasks.transfer.limits.concurrency", forgotten)
    with slots(["alyx-host-a"], Pace(threading.Event()), pytest.fail):
        pass


def outcome(state, verdict=""):
    return Outcome("id", "a.npy", state, verdict=verdict)


@pytest.mark.parametrize(
    ("outcomes", "stopped", "code"),
    [
        ([outcome(State.PUBLISHED), outcome(State.SKIPPED)], "", DONE),
        ([outcome(State.FAILED, "SKIP_FILE"), outcome(State.FAILED, "RETRY")], "", FAILED),
        ([outcome(State.FAILED, "RETRY")], "", TEMPORARY),
        ([outcome(State.FAILED, "RETRY")], "The disk is full.", STOPPED),
    ],
)
def test_the_exit_code_says_what_to_do_next(outcomes, stopped, code):
    summary = replace(Summary.of(outcomes), stopped=stopped)
    assert Fetched(None, summary, tuple(outcomes)).exit_code == code


def test_a_run_that_stopped_says_why():
    stopped = StoppedError(Fetched(None, Summary(stopped="The disk is full."), ()))
    assert str(stopped) == "The disk is full. Run again: it resumes where it stopped."
