"""What it costs to see that a tree is whole, beside `find -size` and rclone's check of the same tree.

    python -m tests.simulation.noop [FILES]

The ledger is on SQLite and on PostgreSQL. Prints wall and CPU seconds, the best of three, and ratios to `find`; the CPU
of the PostgreSQL server is not counted.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tasks.ledger import Ledger
from tasks.ledgers.engines import schema_of
from tasks.model import Outcome, State
from tests import postgres
from tests.simulation import world

#: A file system in memory, so that no disk is measured.
_MEMORY = next(filter(Path.is_dir, [Path("/dev/shm")]), None)  # noqa: S108  (a folder of our own is made there)


def build(root, count):
    """Make a whole tree, and return the outcomes that its ledger holds."""
    for dataset in world.datasets(count):
        path = root / dataset.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.truncate(path, dataset.size)
        found = path.stat()
        yield Outcome(
            dataset.id,
            dataset.path,
            State.PUBLISHED,
            size=found.st_size,
            digest=dataset.digest,
            verified="md5",
            mtime_ns=found.st_mtime_ns,
        )


def command(*words):
    """A contender that is a command."""

    def run():
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return run


def planned(root, count, place):
    """A contender that is ours: read the ledger, look at each file, compare, and write the plan down."""

    def run():
        ledger = Ledger.read_only(place)
        plan = world.plan(root, count, ledger)
        assert plan.present.files == count
        ledger.close()

    return run


def _cpu():
    """CPU seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def seconds(contender):
    """Wall and CPU seconds, the best of three."""
    taken = []
    for _ in range(3):
        begin, before = time.perf_counter(), _cpu()
        contender()
        taken.append((time.perf_counter() - begin, _cpu() - before))
    return min(wall for wall, _ in taken), min(cpu for _, cpu in taken)


def main():
    """Measure, and print a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory(dir=_MEMORY) as name, postgres.running() as server:
        root = Path(name)
        outcomes = list(build(root, count))
        places = {"SQLite": root, "PostgreSQL": schema_of(root, server.url())}
        for place in places.values():
            ledger = Ledger.open(place)
            ledger.record(outcomes)
            ledger.close()
        contenders = {
            "find -size": command("find", name, "-type", "f", "-size", "+0c"),
            "rclone check --size-only": command("rclone", "check", "--size-only", name, name),
            **{f"prefect-alyx, ledger on {kind}": planned(root, count, place) for kind, place in places.items()},
        }
        taken = {what: seconds(contender) for what, contender in contenders.items()}
    print(f"{count:,} files\n\n| | wall s | CPU s | wall / find | CPU / find |\n| --- | --- | --- | --- | --- |")
    wall, cpu = taken["find -size"]
    for what, (its_wall, its_cpu) in taken.items():
        print(f"| {what} | {its_wall:.2f} | {its_cpu:.2f} | {its_wall / wall:.1f} | {its_cpu / cpu:.1f} |")


if __name__ == "__main__":
    main()
