"""Killed anywhere, run again: the tree is right, little is moved twice, nothing is left over."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tasks.clients.tree import OURS
from tasks.ledger import Ledger
from tasks.model import State
from tests.engine import Job, await_end, lab_of, partials_of, unproven_files, wrong_files
from tests.forks import FORKS
from tests.sabotage import die_at, in_ranges, one_of_two
from tests.slow_link import SlowLink

FILES, KILLS, LARGE = 500, 20, 12_000_000


@pytest.fixture
def link():
    return SlowLink()


def test_twenty_kills_in_a_run_of_500_files_cost_no_more_than_5_percent(tmp_path, link):
    dice = random.Random(20)
    with lab_of(tmp_path / "lab", files=FILES, file_bytes=40_000, wrap=link) as lab:
        job = Job.of(tmp_path / "root")
        for place in sorted(dice.uniform(0, job.bytes) for _ in range(KILLS)):
            child = job.start()
            link.wait_until(place, lambda child=child: not child.is_alive())
            child.join(dice.uniform(0, 0.02))  # also while it publishes and records
            child.kill()
            await_end(child)
            assert wrong_files(job, missing_allowed=True) == set()
        outcomes = job.run()
        sent = lab.requests.sent(server="http")
    assert {outcome.state for outcome in outcomes} <= {State.PUBLISHED, State.PRESENT}
    assert wrong_files(job) == set()
    assert unproven_files(job) == set()
    assert partials_of(job.root) == []
    assert sum(Ledger.read_only(job.root).counts().values()) == FILES
    assert sent <= 1.05 * job.bytes


def test_after_a_crash_at_any_step_the_tree_is_right_and_a_rerun_makes_it_whole(tmp_path):
    with lab_of(tmp_path / "lab", files=3, file_bytes=5_000):
        whole = Job.of(tmp_path / "root")
        first, *others = whole.transfers
        whole = replace(whole, transfers=(first._replace(digest=""), *others))  # its partial names its version
        step, exit_code = 0, 9
        while exit_code == 9:
            job = replace(whole, root=tmp_path / f"root {step}")
            child = job.start(die_at, step)
            await_end(child)
            exit_code = child.exitcode
            assert wrong_files(job, missing_allowed=True) == set(), f"crash at step {step}"
            assert {one.state for one in job.run()} <= {State.PUBLISHED, State.PRESENT}, f"rerun after step {step}"
            assert wrong_files(job) == unproven_files(job) == set(), f"rerun after step {step}"
            assert partials_of(job.root) == [], f"rerun after step {step}"
            step += 1
    assert exit_code == 0
    print(step)
    assert step > 30


def test_two_workers_without_locks_corrupt_nothing_and_move_at_most_twice_the_bytes(tmp_path):
    with lab_of(tmp_path / "lab", files=100, file_bytes=100_000) as lab:
        job = Job.of(tmp_path / "root")
        gate = FORKS.Barrier(2)
        workers = [job.start(one_of_two, gate) for _ in range(2)]
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        assert wrong_files(job) == set()
        assert partials_of(job.root) == []
        assert job.bytes <= lab.requests.sent(server="http") <= 2 * job.bytes
        lab.requests.clear()
        assert {one.state for one in job.run()} == {State.PRESENT}
        assert unproven_files(job) == set()
        assert lab.requests.count(server="http") == 0


def test_kills_in_the_middle_of_ranges_lose_nothing_and_mistake_nothing(tmp_path, link):
    dice = random.Random(7)
    with lab_of(tmp_path / "lab", files=1, file_bytes=LARGE, wrap=link) as lab:
        job = Job.of(tmp_path / "root")
        (dataset,) = (one for one in lab.world.datasets.values() if one.hash in job.truth.values())
        seen = set()
        for place in sorted(dice.uniform(0, 0.95 * LARGE) for _ in range(2)):
            child = job.start(in_ranges)
            link.wait_until(place, lambda child=child: not child.is_alive())
            child.kill()
            await_end(child)
            seen |= {name.rpartition(".")[2] for name in partials_of(job.root)}
            assert misplaced(job, dataset.content) == []
        child = job.start(in_ranges)
        await_end(child)
        sent = lab.requests.sent(server="http")
    assert seen == {"part", "piece"}
    assert wrong_files(job) == unproven_files(job) == set()
    assert partials_of(job.root) == []
    assert sent <= 1.05 * LARGE


def misplaced(job, content):
    """Partials that are no prefix of the content, and pieces that are not what lies in their place."""
    wrong = []
    for path in (job.root / OURS / "partials").iterdir():
        start = int(path.suffixes[-2][1:]) if path.suffix == ".piece" else 0
        held = path.read_bytes()
        if content[start : start + len(held)] != held:
            wrong.append(path.name)
    return wrong
