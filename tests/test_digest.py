"""The digest that may lag behind: the same digest, whatever the pieces, asked for at any time."""

from __future__ import annotations

import hashlib
import random

import pytest

from tasks.clients import digest as module
from tasks.clients.digest import Digest

DATA = random.Random(1).randbytes(300_000)


@pytest.fixture(params=[1, 100_000, 10_000_000], ids=["all in the thread", "some in the thread", "no thread"])
def _large_from(request, monkeypatch):
    monkeypatch.setattr(module, "LARGE_BYTES", request.param)
    monkeypatch.setattr(module, "_PIECE_BYTES", 20_000)


@pytest.mark.usefixtures("_large_from")
@pytest.mark.parametrize("piece", [1_000, 16_384, 300_000])
def test_it_is_the_digest_of_all_that_was_given(piece):
    digest = Digest(hashlib.md5())
    for start in range(0, len(DATA), piece):
        digest.update(DATA[start : start + piece])
    assert digest.hexdigest() == hashlib.md5(DATA).hexdigest()


@pytest.mark.usefixtures("_large_from")
def test_it_can_be_asked_for_on_the_way():
    digest = Digest(hashlib.sha1())
    for end in range(30_000, len(DATA) + 1, 30_000):
        digest.update(DATA[end - 30_000 : end])
        assert digest.hexdigest() == hashlib.sha1(DATA[:end]).hexdigest()
