"""Runs the benchmark and prints it as Markdown. Runs are interleaved and medians taken, since machines drift.

`make bench` takes under 20 minutes; `python -m tests.bench --quick` about one.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contenders import aria2, curl, engine, md5sum, rclone
from tests.bench.loads import MIB, Job, large, mix, small, zeros
from tests.bench.picture import draw
from tests.bench.serving import install, long_line, nginx
from tests.bench.tables import Table, memory, nothing_to_do, whole_flow

#: A file system in memory, so that no disk is measured.
_MEMORY = next(filter(Path.is_dir, [Path("/dev/shm")]), None)  # noqa: S108  (a folder of our own is made there)

OURS, OURS_S3 = engine("ours_http", "**prefect-alyx**"), engine("ours_aws", "**prefect-alyx**")
CURL, PROVEN = curl("curl --parallel"), curl("curl, then md5sum", verify=True)


@dataclass(frozen=True)
class Bench:
    """Servers, folders, and how much is measured."""

    server: str
    secure: str
    line: str
    ca: str
    folder: Path
    quick: bool

    @property
    def rounds(self) -> int:
        return 1 if self.quick else 3

    @property
    def www(self) -> Path:
        return self.folder / "www"

    def job(self, items, server="", place=None, **more) -> Job:
        return Job(server or self.server, str(self.www), str(place or self.folder / "place"), items, **more)

    def one(self, most) -> object:
        return engine("one_http", "ONE, 4 threads", most=most)


def small_files(bench):
    """Where a file's own cost is all."""
    items, slow = (small(bench.www, 1000), 100) if bench.quick else (small(bench.www, 10_000), 300)
    boto3 = engine("boto3_aws", "boto3 download_file, 8 threads", most=slow)
    one, one_s3 = bench.one(3 * slow), engine("one_aws", "ONE S3", most=slow // 2)
    all_of_them = (OURS, CURL, PROVEN, rclone("rclone"), aria2("aria2"), one)
    yield Table("16 KiB files, http", bench.job(items), all_of_them, bench.rounds)
    yield Table("16 KiB files, https", bench.job(items, bench.secure, ca=bench.ca), (OURS, CURL, one), bench.rounds)
    yield Table("16 KiB objects, S3, unsigned", bench.job(items), (OURS_S3, CURL, boto3, one_s3), bench.rounds)
    yield Table("16 KiB objects, S3, signed", bench.job(items, keys=True), (OURS_S3, boto3), bench.rounds)


def alf_mix(bench):
    """What labs have; also over a long line."""
    items, few = (mix(bench.www, 100), 100) if bench.quick else (mix(bench.www, 2000), 400)
    peers = (OURS, PROVEN, rclone("rclone"), aria2("aria2"), bench.one(few))
    yield Table("ALF mix, in memory", bench.job(items), peers, bench.rounds)
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as disk:
        yield Table("ALF mix, onto disk", bench.job(items[:few], place=f"{disk}/place"), (OURS, PROVEN), bench.rounds)
    far = (OURS, CURL, aria2("aria2"), bench.one(100))
    yield Table("ALF mix, over a long line", bench.job(items[:few], bench.line), far)


def large_files(bench):
    """Where wire and digest count; also over a long line, where connections do."""
    items = large(bench.www, (128 if bench.quick else 1024) * MIB)
    peers = (OURS, curl("curl"), md5sum("md5sum, nothing else"), rclone("rclone"), bench.one(1))
    yield Table("One large file", bench.job(items), peers, bench.rounds)
    items = large(bench.www, (64 if bench.quick else 256) * MIB)
    far = (OURS, curl("curl"), aria2("aria2, 8 connections", streams=8), bench.one(1))
    yield Table("One large file, over a long line", bench.job(items, bench.line), far)


def memory_loads(bench):
    """Few files and ten times as many; one large file and one eight times as large, of zeros that take no room."""
    few, size = (1000, 32 * MIB) if bench.quick else (10_000, 1024 * MIB)
    items = small(bench.www, 10 * few, size=64)
    yield f"{few:,} and {10 * few:,} files", OURS, bench.job(items[:few]), bench.job(items)
    smaller, larger = (bench.job(zeros(bench.www, length)) for length in (size, 8 * size))
    yield f"{size // MIB:,} and {8 * size // MIB:,} MiB in one file", OURS, smaller, larger


def main() -> None:
    """Print the tables, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small loads, once: about a minute")
    parser.add_argument("--only", default="", help="only tables with this in their title")
    parser.add_argument("--picture", type=Path, help="an SVG file to draw the tables into")
    options = parser.parse_args()
    charts = []
    install("nginx", "curl", "rclone", "aria2c")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_MEMORY, prefix="bench-")))
        folder.chmod(0o755)
        (folder / "www").mkdir()
        server, secure, ca = stack.enter_context(nginx(folder / "nginx", folder / "www"))
        line = stack.enter_context(long_line(server))
        bench = Bench(server, secure, line, str(ca), folder, options.quick)
        for tables in (small_files, alf_mix, large_files):
            charts += [table.measure() for table in tables(bench) if options.only in table.title]
        if options.only in "The whole flow":
            whole_flow(bench.job(small(bench.www, 1000 if options.quick else 10_000)), 1 if options.quick else 7)
        if options.only in "Nothing to do":
            nothing_to_do(folder / "tree", 10_000 if options.quick else 100_000)
        if options.only in "Peak memory":
            memory(memory_loads(bench))
    if options.picture:
        draw(options.picture, charts)


if __name__ == "__main__":
    main()
