"""A batch that died as a whole is run again by Prefect, where another try can help."""

from __future__ import annotations

import pytest
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.clients.verdicts import error
from tasks.downloading import batch_task

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize(("code", "runs"), [("ledger-away", 2), ("disk-full", 1)])
def test_a_batch_is_run_again_where_that_can_help(prefect_api, code, runs):
    begun = []

    @batch_task("dies once")
    def batch(label):
        begun.append(label)
        if len(begun) == 1:
            raise error(code)
        return {}

    @flow
    def once():
        batch.with_options(retry_delay_seconds=0).submit("first").wait()

    with temporary_settings(updates={PREFECT_API_URL: prefect_api}):
        once(return_state=True)
    assert len(begun) == runs
