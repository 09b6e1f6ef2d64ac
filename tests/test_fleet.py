"""A fleet on a real Prefect server: several workers, one root, one ledger on PostgreSQL; a worker that is killed."""

from __future__ import annotations

import os

import pytest

from deployments.sandbox import Lab
from tasks.ledger import Ledger
from tasks.ledger_engines import schema_of
from tasks.model import State
from tests.engine import BULK, partials_of
from tests.site import Site, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

#: `make fleet` moves 100,000.
FILES = int(os.environ.get("FLEET_FILES", "20000"))
PATIENCE = 300 + FILES // 20
SITE_YAML = """
alyx_url: {alyx}
root: {root}
selection: {{everything: true}}
flow_runs_at_once: 8
heartbeat_seconds: 30
"""


@pytest.fixture
def site(tmp_path, postgresql):
    with Lab(files=FILES, file_bytes=2_000) as lab:
        made = Site(lab, tmp_path)
        made.ledger = schema_of(made.root, postgresql.url())
        try:
            made.start_server()
            (tmp_path / "site.yaml").write_text(SITE_YAML.format(alyx=lab.urls["alyx"], root=made.root))
            made.deploy()
            yield made
        finally:
            for process in made.processes:
                if process.poll() is None:
                    made.kill(process)


def worker(site, postgresql, name):
    """A machine that runs one flow run at a time."""
    command = ("prefect", "worker", "start", "--pool", "alyx", "--limit", "1", "--name", name)
    return site.start(*command, log=name, PREFECT_INTEGRATIONS_ALYX_LEDGER=postgresql.url())


def test_a_worker_that_is_killed_half_way_costs_nothing_but_time(site, postgresql):
    worker(site, postgresql, "follows")
    run = site.trigger("fleet/on-demand", selection=BULK, by="neighbours", count=8, at_once=3)
    until(lambda: site.state(run) == "RUNNING", 120, "the fleet's start")
    first, _ = worker(site, postgresql, "first"), worker(site, postgresql, "second")
    # A run makes the tables; until then nothing can be read.
    until(lambda: published(site) > FILES / 2, PATIENCE, "half of the files")
    site.kill(first)
    moved = site.bytes_sent()
    worker(site, postgresql, "third")
    ended = site.ended(run, PATIENCE)
    assert ended["state_name"] == "Completed", ended["state"]
    with_ledger(site)
    total = sum(truth.size for truth in site.lab.manifest.values() if "BULK_001" in truth.path)
    ratio = site.bytes_sent() / total
    print(f"\n{FILES} files, killed after {moved / total:.0%}, {ratio:.3f} times the bytes")
    assert ratio <= 1.05


def published(site):
    return Ledger.read_only(site.ledger).counts().get(State.PUBLISHED, 0)


def with_ledger(site):
    """Every file once, proven, and nobody holds anything any more."""
    ledger = Ledger.read_only(site.ledger)
    wanted = {truth.path for truth in site.lab.manifest.values() if "BULK_001" in truth.path}
    known = ledger.known()
    assert known.keys() == wanted
    assert len(known) == FILES
    assert all((site.root / path).stat().st_size == proof.size for path, proof in known.items())
    assert sum(ledger.counts().values()) == FILES
    assert ledger.leases() == {}
    assert partials_of(site.root) == []
    shards = [run for run in ledger.last_runs(limit=100) if len(run.id) > 36]
    whole = next(run for run in ledger.last_runs(limit=100) if len(run.id) == 36)
    assert len(shards) == 8
    assert sum(run.summary["files"] for run in shards) == whole.summary["files"] == FILES
    assert whole.summary["failed"] == 0
    ledger.close()
