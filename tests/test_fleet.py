"""A fleet on a real Prefect server: machines of their own, one root, one ledger on PostgreSQL; one machine dies."""

from __future__ import annotations

import os
import time

import pytest

from deployments.sandbox import Lab
from tasks.ledger import Ledger
from tasks.ledgers.engines import schema_of
from tasks.model import State
from tests import postgres
from tests.engine import BULK, partials_of
from tests.machines import HERE, machines
from tests.records import ASKED, Records
from tests.site import ENDED, Site, until

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
def database():
    """PostgreSQL for the fleet's ledger and for Prefect, where all machines reach it."""
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres.running(HERE) as server:
        server.query("CREATE DATABASE prefect")
        yield server


@pytest.fixture
def fleet():
    """Machines: one follows, the others move files."""
    with machines(3) as made:
        yield made


@pytest.fixture
def site(tmp_path, fleet, database):
    with Lab(files=FILES, file_bytes=2_000, host=HERE) as lab:
        made = Site(lab, tmp_path, database.url("postgresql+asyncpg", "prefect"), HERE)
        made.ledger = schema_of(made.root, database.url())
        try:
            made.start_server(**ASKED)
            (tmp_path / "site.yaml").write_text(SITE_YAML.format(alyx=lab.urls["alyx"], root=made.root))
            made.deploy()
            yield made
        finally:
            for process in made.processes:
                if process.poll() is None:
                    made.kill(process)


def worker(site, database, machine):
    """A worker that runs one flow run at a time, on a machine."""
    command = ("prefect", "worker", "start", "--pool", "alyx", "--limit", "1", "--name", machine.name)
    return site.start(*command, log=machine.name, machine=machine, PREFECT_INTEGRATIONS_ALYX_LEDGER=database.url())


def test_a_machine_that_dies_half_way_costs_nothing_but_time(site, database, fleet):
    records, begin = Records(site, database, HERE), time.monotonic()
    worker(site, database, fleet[0])
    run = site.trigger("fleet/on-demand", selection=BULK, by="neighbours", count=8, at_once=3)
    until(lambda: site.state(run) == "RUNNING", 120, "the fleet's start")
    first, _ = worker(site, database, fleet[1]), worker(site, database, fleet[2])
    # A run makes the tables; until then nothing can be read.
    until(lambda: published(site) > FILES / 2 or site.state(run) in ENDED, PATIENCE, "half of the files")
    assert site.state(run) == "RUNNING", site.run(run)["state"]
    site.kill(first)
    moved = site.bytes_sent()
    worker(site, database, fleet[1])
    ended = site.ended(run, PATIENCE)
    assert ended["state_name"] == "Completed", ended["state"]
    with_ledger(site)
    total = sum(truth.size for truth in site.lab.manifest.values() if "BULK_001" in truth.path)
    ratio = site.bytes_sent() / total
    print(f"\n{FILES} files, killed after {moved / total:.0%}, {ratio:.3f} times the bytes")
    print(f"{time.monotonic() - begin:.0f} s; {records.line()}")
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
