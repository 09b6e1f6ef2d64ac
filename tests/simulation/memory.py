"""What planner and flow take at several sizes: memory of the process, and what it costs a Prefect server.

    python -m tests.simulation.memory 10000 100000 1000000

Each size is a process of its own: it plans synthetic datasets, and runs the flow on the plan with real ledger, batches
and report; a transfer is settled at once, and not moved. One Prefect server on PostgreSQL serves all.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deployments.sandbox import Lab
from tasks.ledgers.opening import read_ledger
from tests import postgres
from tests.records import ASKED, Records
from tests.simulation import world
from tests.simulation.moving import simulated
from tests.site import CHECKOUT, Site, until


def peak():
    """Highest resident memory of this process since the last question, in MB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")
    return int(line.split()[1]) / 1024


def work(count):
    """Plan and run so many datasets in this process; return MB and seconds of each step."""
    taken = {"imports": peak()}
    with tempfile.TemporaryDirectory(prefix="memory-") as name:
        begin = time.monotonic()
        plan = world.plan(Path(name), count, read_ledger(Path(name)))
        path = plan.save()
        taken |= {"plan": peak(), "plan s": time.monotonic() - begin}
        begin = time.monotonic()
        state = simulated(path, return_state=True)
        taken |= {"flow": peak(), "flow s": time.monotonic() - begin}
    assert f"published={count} " in state.message, state.message
    return taken


def measured(site, records, count):
    """The same in a process of its own, and what it has cost the server once all of that is recorded."""
    before = records.taken()
    command = [sys.executable, "-m", __spec__.name, "work", str(count)]
    output = subprocess.run(command, env=site.environment(), cwd=CHECKOUT, check=True, stdout=subprocess.PIPE).stdout
    until(lambda: site.post("task_runs/count", task_runs={"state": {"type": {"any_": ["RUNNING"]}}}) == 0, 120, "rest")
    taken = json.loads(output.splitlines()[-1])
    return taken | {name: number - before[name] for name, number in records.taken().items()}


def main():
    """Measure, and print a table; or be measured."""
    what, *more = sys.argv[1:] or ["10000", "100000", "1000000"]
    if what == "work":
        print(json.dumps(work(int(more[0]))))
        return
    with tempfile.TemporaryDirectory(prefix="memory-") as folder, postgres.running() as server, Lab() as lab:
        server.query("CREATE DATABASE prefect")
        site = Site(lab, Path(folder), server.url("postgresql+asyncpg", "prefect"))
        try:
            site.start_server(**ASKED)
            records = Records(site, server)
            for count in map(int, (what, *more)):
                taken = measured(site, records, count)
                print(
                    f"{count:>9,}", *(f"{name} {number:,.0f}" for name, number in taken.items()), sep=" | ", flush=True
                )
        finally:
            site.kill(site.processes[0])


if __name__ == "__main__":
    main()
