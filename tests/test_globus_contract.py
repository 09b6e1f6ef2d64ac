"""What every client promises, of Globus: the same suite as for http and aws, against the lab's collections.

Three things differ, and the adaptor below is all that they need:
- the service moves the bytes, so what the other protocols count in requests for a file is a submission here;
- its waits are the emulator's time, so that nobody sleeps until a task has ended;
- the profile names this machine's endpoint, without which there is no way.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from globus_lab import LinkedPace

from deployments.sandbox.full import FullLab
from tasks.alyx import AlyxClient
from tasks.clients import client_for
from tests.contract import Contract, Route

REPOSITORIES = ("globus_cortexlab",)


@dataclass(frozen=True)
class GlobusRoute(Route):
    service: object

    def client_with(self, params=None, **changed):
        """A client whose patience is the emulator's time; its profile lies in ONE's store."""
        pace = LinkedPace(self.service)
        return client_for("globus", {**self.record, **changed}, params, pace=pace)

    def requests(self):
        """Submissions that the service had so far."""
        return len(self.service.requests("POST /v0.10/transfer"))


@pytest.fixture(scope="module")
def running():
    with FullLab() as lab:
        lab.globus.freeze()
        yield lab


class TestGlobusContract(Contract):
    @pytest.fixture(params=REPOSITORIES)
    def route(self, request, running, monkeypatch):
        running.lab.reset()
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        record = AlyxClient().rest("data-repository", "read", id=request.param)
        return GlobusRoute(running.lab, "globus", record, running.globus)
