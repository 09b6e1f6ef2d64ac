"""The contenders: what each runs for a job, and what it took."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.loads import Job


PREFECT_HOME = f"{tempfile.gettempdir()}/prefect-alyx-bench"


@dataclass(frozen=True)
class Took:
    """What one run took: seconds, CPU seconds and, where it says so itself, bytes of memory at most."""

    wall: float
    cpu: float
    peak: float = 0


@dataclass(frozen=True)
class Contender:
    """One way to fetch a job's files.

    Attributes:
        command: Makes the command line; the folder is for its own files (lists of URLs).
        most: Files that it is given at most, where it is slow; figures are a file's.
        reports: Whether it prints itself what it took.
    """

    name: str
    command: Callable[[Job, Path], list[str]]
    most: int = 1_000_000
    reports: bool = False

    def run(self, job: Job) -> Took:
        """Fetch into an empty place, and check that all came."""
        job = job.first(self.most)
        place = Path(job.place)
        shutil.rmtree(place, ignore_errors=True)  # a program that ended may have left a thread's last file there
        place.mkdir(parents=True)
        try:
            took = self.measure(job)
            came = [path.stat().st_size for path in place.rglob("*.npy")]
            assert (len(came), sum(came)) == (len(job.items), job.bytes), f"{self.name}: {len(came)} files"
        finally:
            shutil.rmtree(place)
        return took

    def measure(self, job: Job) -> Took:
        """Do the job, and say what it took."""
        with tempfile.TemporaryDirectory() as notes:
            begin = time.monotonic()
            process = subprocess.Popen(
                self.command(job, Path(notes)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(job)
            )
            said = process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{self.name} ends with {process.returncode}.")
        if self.reports:
            return Took(**json.loads(said.splitlines()[-1]))
        return Took(time.monotonic() - begin, used.ru_utime + used.ru_stime)


def environment(job):
    own = {"AWS_ENDPOINT_URL_S3": job.server, "AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}
    trust = {"REQUESTS_CA_BUNDLE": job.ca, "SSL_CERT_FILE": job.ca, "CURL_CA_BUNDLE": job.ca} if job.ca else {}
    prefect = {"PREFECT_HOME": PREFECT_HOME, "PREFECT_LOGGING_LEVEL": "ERROR"}
    return {**os.environ, **own, **trust, **prefect, "NO_PROXY": "127.0.0.1"}


def stop_server() -> None:
    """End the Prefect server that a flow has started in the background."""
    command = [Path(sys.executable).with_name("prefect-alyx"), "demo", "--stop"]
    subprocess.run(command, check=True, stdout=2, env={**os.environ, "PREFECT_HOME": PREFECT_HOME})


def engine(name: str, label: str, **options) -> Contender:
    """A contender that is Python."""

    def command(job, notes):
        job.save(notes / "job.json")
        return [sys.executable, "-m", "tests.bench.engines", name, str(notes / "job.json")]

    return Contender(label, command, reports=True, **options)


def curl(label: str, *, verify: bool = False) -> Contender:
    """curl, many files at once; with `verify`, md5sum after it."""

    def command(job, notes):
        rows = (f'url="{job.url(item)}"\noutput="{job.place}/{item.path}"' for item in job.items)
        (notes / "list").write_text("\n".join(rows))
        trust = ["--cacert", job.ca] if job.ca else []
        fetch = ["curl", "-sS", "--create-dirs", "--parallel", "--parallel-max", str(job.connections), *trust]
        fetch += ["-K", str(notes / "list")]
        if not verify:
            return fetch
        then = f'"$@" && find {job.place} -type f -print0 | xargs -0 md5sum'
        return ["sh", "-c", then, "sh", *fetch]

    return Contender(label, command)


def rclone(label: str) -> Contender:
    """rclone's HTTP backend."""

    def command(job, notes):
        (notes / "list").write_text("\n".join(item.path for item in job.items))
        options = ["--transfers", str(job.connections), "--files-from-raw", str(notes / "list")]
        options += ["--no-check-dest", "--http-no-head", "--checkers", str(job.connections)]
        return ["rclone", "copy", "--config", "", "--http-url", job.server, *options, ":http:", job.place]

    return Contender(label, command)


def aria2(label: str, *, streams: int = 1) -> Contender:
    """aria2; `streams` connections a file."""

    def command(job, notes):
        rows = (f"{job.url(item)}\n dir={job.place}\n out={item.path}" for item in job.items)
        (notes / "list").write_text("\n".join(rows))
        split = ["-x", str(streams), "-s", str(streams), "-k", "1M", "-j", str(job.connections)]
        quiet = ["--quiet", "--no-conf", "--file-allocation=none", "--allow-overwrite"]
        return ["aria2c", *quiet, *split, "-i", str(notes / "list")]

    return Contender(label, command)


def md5sum(label: str) -> Contender:
    """md5sum of the files where the server has them: the digest's own price."""

    def command(job, _notes):
        item = job.items[0]
        target = Path(job.place, item.path)
        target.parent.mkdir(parents=True)
        return ["sh", "-c", 'ln "$1" "$2" && md5sum "$2"', "sh", f"{job.www}/{item.path}", str(target)]

    return Contender(label, command)


def find(label: str) -> Contender:
    """find over the tree, which stats every file."""
    return Contender(label, lambda job, _notes: ["find", job.place, "-type", "f", "-size", "+1M"])
