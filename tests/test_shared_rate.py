"""Requests to Alyx are counted for all machines together, where Prefect has a rate limit for them."""

from __future__ import annotations

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.testing.utilities import prefect_test_harness

from tasks.rest.throttle import BEYOND, Throttle
from tasks.transfer.limits import _AT_A_TIME, alyx_rate, alyx_slot
from tests.pace import FakePace

URL = "https://alyx.example.org"


def test_whoever_counts_for_all_machines_is_asked_for_every_request():
    asked: list[int] = []
    throttle = Throttle(FakePace())
    throttle.take()
    token = BEYOND.set(lambda: asked.append(1))
    try:
        throttle.take()
        throttle.take()
    finally:
        BEYOND.reset(token)
    throttle.take()
    assert asked == [1, 1]


@pytest.mark.slow
def test_prefect_counts_the_requests_while_a_plan_is_made(monkeypatch):
    monkeypatch.setenv("ALYX_URL", URL)
    throttle = Throttle(FakePace())
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        with alyx_slot(print):
            throttle.take()  # nobody made a limit: nobody is asked
        name = alyx_rate(URL)
        limit = GlobalConcurrencyLimitCreate(name=name, limit=100, slot_decay_per_second=0.001)
        client.create_global_concurrency_limit(limit)
        with alyx_slot(print):
            for _ in range(_AT_A_TIME + 1):
                throttle.take()
        throttle.take()
        assert client.read_global_concurrency_limit_by_name(name).active_slots == 2 * _AT_A_TIME
