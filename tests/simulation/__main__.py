"""Runs a fleet without bytes, and says where the time goes.

    python -m tests.simulation --files 1000000 --places 20 --workers 4

Planner, shards, ledger (PostgreSQL), Prefect server and workers are real; a transfer is settled at once, and
not moved. When a third of the files is settled a worker is killed with all its runs, at two thirds the Prefect server
is killed and started again.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.sandbox import Lab
from flows.fleet import WorkPool
from tasks.clients.seams import Pace
from tasks.clients.verdicts import DownloadError
from tasks.keeping.following import Fleet, Shard
from tasks.ledger import Ledger
from tasks.ledgers.engines import schema_of
from tasks.model import State
from tasks.plan.sharding import shards
from tests import postgres
from tests.records import ASKED, Records
from tests.simulation import world
from tests.site import Site, until

POOL = "simulation"


def main():
    """Simulate, and print what was measured."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--files", type=int, default=200_000)
    options.add_argument("--places", type=int, default=20, help="shards that run at once")
    options.add_argument("--workers", type=int, default=4, help="worker processes that share the places")
    options.add_argument("--shards", type=int, help="shards to cut; by default as the fleet does")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder, postgres.running() as server, Lab() as lab:
        Simulation(Path(folder), server, lab, chosen).run()


class Simulation:
    """One simulation, in a folder of its own."""

    def __init__(self, folder, server, lab, chosen):
        self.site = Site(lab, folder, server.url("postgresql+asyncpg", "prefect"))
        self.chosen, self.server = chosen, server
        self.place = schema_of(self.site.root, server.url())
        self.ledger = Ledger.open(self.place)
        self.machines = []

    def run(self):
        """All steps, each with its time."""
        self.server.query("CREATE DATABASE prefect")
        self.site.root.mkdir()
        with told("plan"):
            plan = world.plan(self.site.root, self.chosen.files, self.ledger)
            plan.save()
        print(f"  {plan.fetch.files:,} files, {len(plan.batches)} batches; peak of this process {peak():.0f} MB")
        with told("shards"):
            parts = list(shards(plan, "subject", self.chosen.shards))
        print(f"  {len(parts)} shards; peak of this process {peak():.0f} MB")
        try:
            with told("Prefect server and deployment"):
                self._start()
            records, ledger = Records(self.site, self.server), self._ledger_bytes()
            with told("fleet"):
                summary = self._fleet(parts)
            print(f"  {summary.line()} {summary.stopped}")
            print(f"  {records.line()}; the ledger's database grew by {(self._ledger_bytes() - ledger) / 1e6:.1f} MB")
            self._tell()
        finally:
            for process in self.site.processes:
                if process.poll() is None:
                    self.site.kill(process)
            self.ledger.close()

    def _start(self):
        self.site.start_server(**ASKED)
        self.site.command_of("prefect", "work-pool", "create", POOL, "--type", "process")
        self.site.command_of("tests.simulation.deploying", POOL)
        for number in range(self.chosen.workers):
            self.machines.append(self._worker(number))

    def _worker(self, number):
        limit = str(-(-self.chosen.places // self.chosen.workers))
        command = ("prefect", "worker", "start", "--pool", POOL, "--limit", limit, "--name", f"machine-{number}")
        return self.site.start(*command, log="workers", PREFECT_INTEGRATIONS_ALYX_LEDGER=self.server.url())

    def _fleet(self, paths):
        parts = [Shard(f"simulated-{number:03}", path) for number, path in enumerate(paths)]
        fleet = Fleet(WorkPool("simulated/shard"), self.ledger, Pace(), self.chosen.places, print)
        trouble = threading.Thread(target=self._trouble, daemon=True)
        trouble.start()
        begin = time.monotonic()
        with temporary_settings(updates={PREFECT_API_URL: self.site.api}):
            summary = fleet.follow(parts)
        trouble.join(5)
        return summary.lasting(time.monotonic() - begin)

    def _trouble(self):
        """A machine dies, and the server restarts."""
        self._wait_for(1 / 3)
        self.site.kill(self.machines[0])
        print(f"  {time.strftime('%H:%M:%S')} a worker and its runs are killed; another takes its place")
        self.machines[0] = self._worker(self.chosen.workers)
        self._wait_for(2 / 3)
        self.site.kill(self.site.processes[0])
        begin = time.monotonic()
        self.site.start_server(**ASKED)
        print(f"  {time.strftime('%H:%M:%S')} Prefect's server was away for {time.monotonic() - begin:.0f} s")

    def _wait_for(self, share):
        def far_enough():
            with suppress(DownloadError):
                return self.ledger.counts().get(State.PUBLISHED, 0) >= share * self.chosen.files
            return False

        until(far_enough, 24 * 3600, "a share of the files", every=5)  # counting a million rows takes a while

    def _tell(self):
        print(f"  settled {sum(self.ledger.counts().values()):,}; leases left {self.ledger.leases()}")
        for process in (self.site.processes[0], *self.site.processes[-1:]):
            with suppress(psutil.NoSuchProcess):
                times = psutil.Process(process.pid).cpu_times()
                print(f"  CPU of {process.args[2:5]}: {times.user + times.system:.0f} s")

    def _ledger_bytes(self):
        return self.server.query("SELECT pg_database_size('postgres')")


@contextmanager
def told(what):
    """Print how long something takes, and what CPU this process spends on it."""
    begin, cpu = time.monotonic(), time.process_time()
    yield
    print(f"{what}: {time.monotonic() - begin:.1f} s, {time.process_time() - cpu:.1f} s of CPU here", flush=True)


def peak():
    """Highest resident memory of this process, in MB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
