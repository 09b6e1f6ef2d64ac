"""Runs the benchmark and prints it as Markdown. Runs are interleaved and medians taken, since machines drift.

`make bench` takes under 20 minutes; `python -m tests.bench --quick` about one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from tests.bench.contenders import Took, aria2, curl, engine, find, md5sum, rclone
from tests.bench.loads import MIB, Job, large, mix, small
from tests.bench.serving import install, long_line, nginx

#: A file system in memory, so that no disk is measured.
_MEMORY = next(filter(Path.is_dir, [Path("/dev/shm")]), None)  # noqa: S108  (a folder of our own is made there)


@dataclass(frozen=True)
class Table:
    """One load, and who is asked to fetch it: ours first."""

    title: str
    job: Job
    contenders: tuple
    rounds: int = 3

    def measure(self) -> None:
        """Run all of them in turn, some rounds, and print the table."""
        runs = {contender: [] for contender in self.contenders}
        for number in range(self.rounds):
            for contender in self.contenders:
                place = f"{self.job.place}/{number}"
                runs[contender].append(contender.run(replace(self.job, place=place)))
                print(".", end="", file=sys.stderr, flush=True)
        self._print({contender: _median(taken) for contender, taken in runs.items()})

    def _print(self, taken) -> None:
        files, size = len(self.job.items), self.job.bytes
        print(f"\n### {self.title}\n\n{files:,} files, {size / 1e6:,.0f} MB\n")
        print("| | files/s | MB/s | CPU ms a file | CPU s a GB | peak MB | ours: wall | ours: CPU |")
        print("| --- " * 8 + "|")
        ours = next(iter(taken.items()))
        for contender, took in taken.items():
            print(_row(contender, took, self.job, ours), flush=True)


def _median(taken):
    return Took(*(median(getattr(took, name) for took in taken) for name in ("wall", "cpu", "peak")))


def _row(contender, took, job, ours):
    part = job.first(contender.most)
    files, gigabytes = len(part.items), part.bytes / 1e9
    our_part = job.first(ours[0].most)
    share = len(our_part.items) / files if contender.most < len(job.items) else 1
    wall, cpu = ours[1].wall / share / took.wall, ours[1].cpu / share / took.cpu
    cells = (
        contender.name,
        f"{files / took.wall:,.0f}",
        f"{part.bytes / 1e6 / took.wall:,.0f}",
        f"{took.cpu / files * 1e3:.2f}",
        f"{took.cpu / gigabytes:.2f}",
        _megabytes(took),
        f"{wall:.2f}x",
        f"{cpu:.2f}x",
    )
    return "| " + " | ".join(cells) + " |"


def _megabytes(took):
    return f"{took.peak / 1e6:,.0f}" if took.peak else ""


def tables(options, server, secure, line, ca, www, place):
    quick = options.quick
    files = 1000 if quick else 10_000
    some = small(www, files)
    alf = mix(www, 100 if quick else 2000)
    big = large(www, (128 if quick else 1024) * MIB)
    wan = large(www, (64 if quick else 256) * MIB)
    few = 100 if quick else 400

    def job(items, address=server, folder=place, **more):
        return Job(address, str(www), str(folder), items, **more)

    rounds = 1 if quick else 3
    slow = 300 if quick else 1000
    ours, ours_s3 = engine("ours_http", "**prefect-alyx**"), engine("ours_aws", "**prefect-alyx**")
    one = engine("one_http", "ONE, 4 threads", most=slow)
    boto3 = engine("boto3_aws", "boto3 download_file, 8 threads", most=slow // 3)
    yield Table(
        "16 KiB files, http",
        job(some),
        (ours, curl("curl --parallel"), curl("curl, then md5sum", verify=True), rclone("rclone"), aria2("aria2"), one),
        rounds,
    )
    yield Table("16 KiB files, https", job(some, secure, ca=str(ca)), (ours, curl("curl --parallel"), one), rounds)
    yield Table(
        "16 KiB objects, S3, unsigned",
        job(some),
        (ours_s3, curl("curl --parallel"), boto3, engine("one_aws", "ONE S3", most=slow // 5)),
        rounds,
    )
    yield Table("16 KiB objects, S3, signed", job(some, keys=True), (ours_s3, boto3), rounds)
    loads = (ours, curl("curl, then md5sum", verify=True), rclone("rclone"), aria2("aria2"), replace(one, most=few))
    yield Table("ALF mix, in memory", job(alf), loads, rounds)
    if not quick:
        disk = Path(tempfile.mkdtemp(dir=Path.cwd(), prefix=".bench-"))
        yield Table("ALF mix, onto disk", job(alf[:few], folder=disk), loads[:2], rounds)
        disk.rmdir()
    yield Table(
        "One large file",
        job(big),
        (ours, curl("curl"), md5sum("md5sum, nothing else"), rclone("rclone"), one),
        rounds,
    )
    yield Table(
        "A long line: one large file",
        job(wan, line),
        (ours, curl("curl"), aria2("aria2, 8 connections", streams=8), one)
        if not quick
        else (ours, aria2("aria2, 8 connections", streams=8)),
        1,
    )
    yield Table(
        "A long line: ALF mix",
        job(alf[:few], line),
        (ours, curl("curl --parallel"), aria2("aria2"), replace(one, most=100)),
        1,
    )


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
        took = _median(taken)
        print(f"| {contender.name} | {took.wall:.2f} | {took.cpu / files * 1e6:.1f} | {_megabytes(took)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small loads, once: about a minute")
    parser.add_argument("--only", default="", help="only tables with this in their title")
    options = parser.parse_args()
    install("nginx", "curl", "rclone", "aria2c")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_MEMORY, prefix="bench-")))
        folder.chmod(0o755)
        www = folder / "www"
        www.mkdir()
        server, secure, ca = stack.enter_context(nginx(folder / "nginx", www))
        line = stack.enter_context(long_line(server))
        for table in tables(options, server, secure, line, ca, www, folder / "place"):
            if options.only in table.title:
                table.measure()
        if options.only in "Nothing to do":
            nothing_to_do(folder / "tree", 10_000 if options.quick else 100_000)


if __name__ == "__main__":
    main()
