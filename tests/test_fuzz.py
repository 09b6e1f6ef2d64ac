"""A few cases of every harness of the fuzzer, in each run of the tests; `make fuzz` runs many more."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.harnesses import HARNESSES, outside


@pytest.mark.parametrize("harness", HARNESSES, ids=lambda harness: harness.__name__)
def test_what_strangers_send_is_taken_or_refused(harness):
    slow = HARNESSES[harness] < 50

    @settings(deadline=None, max_examples=30 if slow else 120, suppress_health_check=list(HealthCheck), database=None)
    @given(st.binary(max_size=300))
    def fuzzed(data):
        harness(data)

    fuzzed()
    dice = random.Random(20261122)
    for _ in range(40 if slow else 400):
        harness(dice.randbytes(dice.randrange(300)))
    assert outside() == set()
