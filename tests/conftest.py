"""What the tests share. They only ever talk to loopback."""

from __future__ import annotations

import os
import sys
import tempfile

import pytest

from tests import postgres
from tests.shell import Done

# boto3 must not look for an instance role on the network.
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
os.environ.setdefault("NO_PROXY", "127.0.0.1,localhost")
# Prefect reads its profiles and keeps its server's database here, and not where this account has its own. It reads the
# variable once, when it is imported.
assert "prefect" not in sys.modules
_PREFECT = tempfile.TemporaryDirectory(prefix="prefect-alyx-tests-")
os.environ["PREFECT_HOME"] = _PREFECT.name
os.environ.pop("PREFECT_API_URL", None)


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command `prefect-alyx` in this process; whatever it does not handle itself fails the test."""
    from flows.cli import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["prefect-alyx", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def prefect_api():
    """Address of the one Prefect server that all slow tests use, started as the command starts it."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    from flows import local_server

    server = local_server.start(print)
    yield server.url
    for worker in (APILogWorker, EventsWorker):
        worker.drain_all()  # else this process tries for a minute to send what is left
    assert local_server.stop(print)
    assert server.process() is None


@pytest.fixture(scope="session")
def postgresql():
    """The one PostgreSQL of all tests; each takes a schema of its own."""
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.running() as server:
        yield server
