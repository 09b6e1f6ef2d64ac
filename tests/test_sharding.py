"""Shards: every transfer once, groups together, about equal work, and plans that any run can take."""

from __future__ import annotations

import random

import pytest

from tasks.model import Source, Transfer
from tasks.plan.batching import BATCH_BYTES, BATCH_FILES, MOST_BATCHES, cut, work
from tasks.plan.planfile import Plan, Space, Total
from tasks.plan.sharding import MOST_SHARDS, _write, shards
from tasks.plan.spool import Spool

SOURCE = Source("http", "server", "https://data.example.org/file")


def transfer(number, size, lab, subject, day):
    path = f"{lab}/Subjects/{subject}/2026-01-{day:02}/001/alf/{number:06}.npy"
    return Transfer(f"id {number}", path, size, "", (SOURCE,), lab)


def plan_of(root, transfers):
    body = Spool()
    ordered = sorted(transfers, key=lambda one: one.path)
    batches = tuple(_write(body, batch) for batch in cut(ordered, sum(work(one.size) for one in ordered)))
    fetch = Total(len(transfers), sum(one.size for one in transfers))
    space = Space(1 << 50, 0)
    return Plan("whole", str(root), "", fetch, Total(), Total(), 0, (), space, batches, (), (), body.read)


@pytest.fixture
def transfers():
    dice = random.Random(9)
    return [
        transfer(n, min(50_000_000, round(dice.paretovariate(1) * 1e6)), f"lab{n % 3}", f"mouse{n % 60:02}", n % 5 + 1)
        for n in range(6000)
    ]


def work_of(plan):
    return plan.fetch.files / BATCH_FILES + plan.fetch.bytes / BATCH_BYTES


def loaded(paths):
    """Each shard's transfers, as a run reads them."""
    plans = [Plan.load(path) for path in paths]
    return [[one for number in range(len(plan.batches)) for one in plan.transfers(number)] for plan in plans]


@pytest.mark.parametrize("by", ["neighbours", "lab", "subject", "date"])
def test_every_transfer_is_in_one_shard(tmp_path, transfers, by):
    found = [one for shard in loaded(shards(plan_of(tmp_path, transfers), by, 7)) for one in shard]
    assert sorted(found, key=lambda one: one.dataset) == sorted(transfers, key=lambda one: one.dataset)


def test_neighbours_are_cut_into_about_equal_work(tmp_path, transfers):
    paths = list(shards(plan_of(tmp_path, transfers), "neighbours", 12))
    works = [work_of(plan) for plan in map(Plan.load, paths)]
    share = sum(works) / 12
    largest = max(work(one.size) for one in transfers)
    assert len(paths) in (11, 12)
    assert max(works) <= share + largest


@pytest.mark.parametrize(("by", "depth"), [("subject", 3), ("date", 4)])
def test_a_group_stays_together(tmp_path, transfers, by, depth):
    found = loaded(shards(plan_of(tmp_path, transfers), by, 10))
    groups = [{"/".join(one.path.split("/")[:depth]) for one in shard} for shard in found]
    assert len(found) > 5
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_a_group_of_more_than_two_shards_work_is_cut(tmp_path, transfers):
    found = list(shards(plan_of(tmp_path, transfers), "lab", 12))
    assert len(found) > 3
    total = sum(work(one.size) for one in transfers)
    assert all(work_of(plan) < 2.5 * total / 12 for plan in map(Plan.load, found))


def test_a_plan_that_is_small_is_one_shard_and_an_empty_one_none(tmp_path, transfers):
    assert len(list(shards(plan_of(tmp_path, transfers[:50])))) == 1
    assert list(shards(plan_of(tmp_path, []))) == []


def test_however_many_are_asked_for_no_plan_makes_more_task_runs_than_allowed(tmp_path):
    many = [transfer(n, 1, "lab", f"mouse{n % 7}", 1) for n in range(MOST_SHARDS * 3)]
    paths = list(shards(plan_of(tmp_path, many), "neighbours", 10 * MOST_SHARDS))
    assert len(paths) <= MOST_SHARDS
    assert all(len(Plan.load(path).batches) <= MOST_BATCHES for path in paths)


def test_a_shard_is_a_plan_that_says_what_it_adds(tmp_path, transfers):
    (path,) = shards(plan_of(tmp_path, transfers), "neighbours", 1)
    plan = Plan.load(path)
    assert (plan.root, plan.fetch.files, plan.present.files, plan.skipped) == (str(tmp_path), 6000, 0, 0)
    assert plan.space.adds == plan.fetch.bytes == sum(one.size for one in transfers)
    (share,) = plan.shares
    assert (share.protocol, share.repository, share.files) == ("http", "server", 6000)
