"""What Prefect logs of an expected error: one line with its code and the next step, and never a traceback."""

from __future__ import annotations

import io
import logging

import pytest

from flows.plain_errors import log_plainly
from tasks.clients.verdicts import error


@pytest.fixture(params=["prefect.flow_runs", "prefect.task_runs"])
def logged(request, monkeypatch):
    """Says what a run's logger writes of an error that is raised."""
    log_plainly()
    log_plainly()
    logger, said = logging.getLogger(request.param), io.StringIO()
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(said)])

    def write(failure):
        try:
            raise failure
        except type(failure):
            logger.exception("Task run failed with exception: %r", failure)
        return said.getvalue()

    return write


def test_an_expected_error_is_one_line(logged):
    said = logged(error("alyx-login", "POST http://alyx/auth-token: 400."))
    assert said.startswith("Alyx refuses the user name or the password. POST http://alyx/auth-token: 400. [alyx-login]")
    assert said.endswith("or log in again with ONE.\n")
    assert said.count("\n") == 1


def test_what_nobody_expects_keeps_its_traceback(logged):
    assert "Traceback" in logged(ZeroDivisionError("x"))
