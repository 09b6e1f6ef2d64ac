"""The canary: every route is tried with one small file, a broken one is told, and nothing stays on disk."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from deployments.sandbox import Lab
from tasks.alyx import AlyxClient
from tasks.catalogue import repositories
from tasks.clients import DownloadError, WireOptions
from tasks.clients.seams import Pace
from tasks.keeping.probing import LARGEST, Cost, probe, routes
from tasks.wording import canary_line

OPTIONS = WireOptions(attempts=1, connect_seconds=2)
#: What the lab's repositories offer over HTTP and S3.
ROUTES = {
    ("aws", "aws_churchlandlab"),
    ("aws", "aws_cortexlab"),
    ("http", "flatiron_aggregates"),
    ("http", "flatiron_churchlandlab"),
    ("http", "flatiron_cortexlab"),
    ("http", "members_cortexlab"),
}


@pytest.fixture(scope="module")
def running():
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(running, monkeypatch):
    running.reset()
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    return running


def tried(root, pace=None):
    alyx = AlyxClient()
    records = repositories(alyx)
    found = list(routes(alyx, ("aws", "http")))
    costs = [probe(route, records[route.repository], root, OPTIONS, pace or Pace()) for route in found]
    return {(cost.protocol, cost.repository): cost for cost in costs}


def test_every_route_is_tried_once_with_a_small_file(lab, tmp_path):
    lab.requests.clear()
    costs = tried(tmp_path)
    assert costs.keys() == ROUTES
    assert {cost.state for cost in costs.values()} == {"works"}
    assert all(0 < cost.bytes < LARGEST for cost in costs.values())
    assert sum(lab.requests.count(server=server) for server in ("http", "members", "s3")) == len(ROUTES)


def test_nothing_stays_on_disk(lab, tmp_path):
    tried(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not list(tmp_path.glob(".prefect-alyx/canary-*"))


def test_a_server_that_is_down_breaks_its_routes_and_no_other(lab, tmp_path):
    lab.servers["http"].stop()
    costs = tried(tmp_path)
    broken = {key for key, cost in costs.items() if cost.state == "broken"}
    assert broken == {key for key in ROUTES if key[1].startswith("flatiron")}
    assert all(costs[key].reason and costs[key].next_step for key in broken)
    assert canary_line(list(costs.values())) == "3 of 6 routes work, 3 broken."


def test_wrong_bytes_are_a_broken_route(lab, tmp_path):
    (route,) = [one for one in routes(AlyxClient(), ("http",)) if one.repository == "members_cortexlab"]
    for path in lab.paths(lab.world.datasets[route.dataset.id], ("members",)):
        path.write_bytes(bytes(path.stat().st_size))
    cost = tried(tmp_path)["http", "members_cortexlab"]
    assert cost.state == "broken"
    assert "digest" in cost.reason


def test_a_repository_without_files_is_untried(lab, tmp_path):
    (odd,) = [each for each in lab.world.datasets.values() if each.kind == "members"]
    lab.world.datasets[odd.id] = replace(odd, records=())
    cost = tried(tmp_path)["http", "members_cortexlab"]
    assert (cost.state, cost.reason) == ("untried", "Alyx knows of no small file there.")


def test_a_stop_ends_it(lab, tmp_path):
    stop = threading.Event()
    stop.set()
    with pytest.raises(DownloadError, match="asked to stop"):
        tried(tmp_path, Pace(stop))


def test_the_line_counts():
    costs = [Cost("aws", "a", "works"), Cost("http", "b", "broken"), Cost("http", "c", "untried")]
    assert canary_line(costs) == "1 of 3 routes work, 1 broken, 1 without a file to try."
