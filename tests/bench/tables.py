"""A table: one load, its contenders in turn, some rounds, medians, and the figures as ratios."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from statistics import median

from tests.bench.contenders import Took, engine, find, stop_server
from tests.bench.loads import Job, small
from tests.bench.picture import Bars


@dataclass(frozen=True)
class Table:
    """One load, and who is asked to fetch it: ours first."""

    title: str
    job: Job
    contenders: tuple
    rounds: int = 1

    def measure(self) -> Bars:
        """Run all of them in turn, some rounds, print the table, and return it as bars."""
        runs = {contender: [] for contender in self.contenders}
        for number in range(self.rounds):
            for contender in self.contenders:
                place = f"{self.job.place}/{number}"
                runs[contender].append(contender.run(replace(self.job, place=place)))
                print(".", end="", file=sys.stderr, flush=True)
        took = {contender: median_of(taken) for contender, taken in runs.items()}
        self._print(took)
        files = {contender: len(self.job.first(contender.most).items) for contender in took}
        return Bars(self.title, {one.name: taken.cpu / files[one] * 1e3 for one, taken in took.items()})

    def _print(self, taken) -> None:
        files, size = len(self.job.items), self.job.bytes
        print(f"\n### {self.title}\n\n{files:,} files, {size / 1e6:,.0f} MB\n")
        print("| | files/s | MB/s | CPU ms a file | CPU s a GB | peak MB | ours: wall | ours: CPU |")
        print("| --- " * 8 + "|")
        ours = next(iter(taken.items()))
        for contender, took in taken.items():
            print(_row(contender, took, self.job, ours), flush=True)


def median_of(taken):
    return Took(*(median(getattr(took, name) for took in taken) for name in ("wall", "cpu", "peak")))


def _row(contender, took, job, ours):
    part = job.first(contender.most)
    files, gigabytes = len(part.items), part.bytes / 1e9
    share = part.bytes / job.first(ours[0].most).bytes  # slow contenders fetch only some of the files
    wall, cpu = ours[1].wall * share / took.wall, ours[1].cpu * share / took.cpu
    cells = (
        contender.name,
        f"{files / took.wall:,.0f}",
        f"{part.bytes / 1e6 / took.wall:,.0f}",
        f"{took.cpu / files * 1e3:.2f}",
        f"{took.cpu / gigabytes:.2f}",
        megabytes(took),
        f"{wall:.2f}x",
        f"{cpu:.2f}x",
    )
    return "| " + " | ".join(cells) + " |"


def megabytes(took):
    return f"{took.peak / 1e6:,.0f}" if took.peak else ""


def nothing_to_do(folder, files) -> None:
    """Print what it costs to see that every file is there, proven and unchanged."""
    items = small(folder, files, size=1)
    job = Job("", "", str(folder), items)
    ours, theirs = engine("noop", "**prefect-alyx**"), find("find, a stat each")
    runs = {contender: [] for contender in (ours, theirs)}
    for _ in range(3):
        for contender, taken in runs.items():
            taken.append(contender.measure(job))
    print(f"\n### Nothing to do\n\n{files:,} files\n\n| | s | CPU us a file | peak MB |\n| --- | --- | --- | --- |")
    for contender, taken in runs.items():
        took = median_of(taken)
        print(f"| {contender.name} | {took.wall:.2f} | {took.cpu / files * 1e6:.1f} | {megabytes(took)} |", flush=True)


def whole_flow(job, rounds) -> None:
    """Print what a flow run adds to what its batches cost: each with all files, less the same with ten of them."""
    ours, flow = engine("ours_http", "the engine alone"), engine("flow", "the whole flow")
    runs: dict[tuple, list] = {(contender, files): [] for contender in (ours, flow) for files in (10, len(job.items))}
    for _ in range(rounds):
        for (contender, files), taken in runs.items():
            taken.append(contender.run(job.first(files)))
    stop_server()
    took = {key: median_of(taken) for key, taken in runs.items()}
    print(f"\n### The whole flow\n\n{len(job.items):,} files of 16 KiB, start-up apart\n")
    print("| | wall s | CPU s | wall / engine | CPU / engine |\n| --- | --- | --- | --- | --- |")
    wall, cpu = _less(took, ours, job)
    for contender in (ours, flow):
        mine = _less(took, contender, job)
        print(f"| {contender.name} | {mine[0]:.2f} | {mine[1]:.2f} | {mine[0] / wall:.2f}x | {mine[1] / cpu:.2f}x |")


def _less(took, contender, job):
    all_of_them, few = took[contender, len(job.items)], took[contender, 10]
    return all_of_them.wall - few.wall, all_of_them.cpu - few.cpu


def memory(loads) -> None:
    """Print how much memory a load takes, and one of the same kind that is ten or eight times as large.

    Args:
        loads: A title, the engine that fetches, and a smaller and a larger job.
    """
    print("\n### Peak memory\n\n| | smaller, MB | larger, MB | larger / smaller |\n| --- | --- | --- | --- |")
    for title, contender, smaller, larger in loads:
        peaks = [contender.run(job).peak / 1e6 for job in (smaller, larger)]
        print(f"| {title} | {peaks[0]:,.0f} | {peaks[1]:,.0f} | {peaks[1] / peaks[0]:.2f}x |", flush=True)
