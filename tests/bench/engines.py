"""The contenders that are Python: each a function of a job. `python -m tests.bench.engines NAME JOB` runs one.

It prints what the function took, imports apart: a program that runs for hours pays them once.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from unittest import mock
from uuid import UUID

from tests.bench.loads import Job

#: Servers that a contender needs besides; they end with the process.
_AROUND = ExitStack()


def ours_http(job):
    """Our engine: md5 verified, published, in the ledger."""
    record = {"name": "server", "data_url": f"{job.server}/", "globus_is_personal": True}
    return _ours(job, "http", record, job.url)


def ours_aws(job):
    """As `ours_http`, from S3."""
    keys = {"Access key ID": "key", "Secret access key": "secret"} if job.keys else {}
    bucket, _, _ = next(iter(job.items)).path.partition("/")
    record = {"name": "server", "globus_path": "", "json": {"bucket_name": bucket, "region_name": "us-east-1", **keys}}
    return _ours(job, "aws", record, lambda item: f"s3://{item.path}")


def _ours(job, protocol, record, address):
    from tasks.clients import client_class
    from tasks.clients.seams import Pace
    from tasks.downloading import Run, download
    from tasks.model import Source, Summary, Transfer
    from tasks.settings import AlyxSettings

    transfers = (
        Transfer(f"{number:036d}", item.path, item.size, item.md5, (Source(protocol, "server", address(item)),))
        for number, item in enumerate(job.items)
    )
    client_class(protocol)  # boto3 is imported with it
    run = Run.open("bench", Path(job.place), {"server": record}, AlyxSettings(connections=job.connections), Pace())

    def fetch():
        summary = Summary.of(download(run, transfers))
        assert summary.published == len(job.items), summary.line()

    return fetch


def flow(job):
    """The whole flow on a saved plan: task runs of a Prefect server, slots, progress and report included."""
    from prefect.flow_engine import BaseFlowRunEngine

    from flows.fetching import run
    from flows.local_server import prefect_api
    from tasks.selection import Selection
    from tests.loopback import Reply, serve

    record = {"name": "server", "data_url": f"{job.server}/", "globus_is_personal": False, "globus_path": "/"}
    plan = _plan(job, record)
    alyx = _AROUND.enter_context(serve(lambda _: Reply.of({"count": 1, "next": None, "results": [record]})))
    os.environ.update(ALYX_URL=alyx.url, ALYX_TOKEN="t", PREFECT_INTEGRATIONS_ALYX_CONNECTIONS=str(job.connections))
    _AROUND.enter_context(prefect_api(lambda _: None))
    # At its end a flow waits until Prefect's heart has beaten its second: up to one, whatever the flow does.
    _AROUND.enter_context(mock.patch.object(BaseFlowRunEngine, "heartbeat_seconds", None))

    def fetch():
        fetched = run(plan, Selection.read({"everything": True}), lambda _: None)
        assert fetched.summary.published == len(job.items), fetched.summary.line()

    return fetch


def _plan(job, record):
    from tasks.model import Dataset, FileRecord
    from tasks.plan.planfile import Space
    from tasks.plan.sources import Router
    from tasks.planning import make_plan
    from tasks.preparing import Addresses

    repositories = {record["name"]: record}
    named = [(str(UUID(int=number)), item) for number, item in enumerate(job.items)]
    for name, item in named:  # as Alyx's servers name them
        there = Path(job.www, item.path)
        with suppress(FileExistsError):
            os.link(there, there.with_suffix(f".{name}{there.suffix}"))
    datasets = (
        Dataset(name, None, None, item.path, item.size, item.md5, records=(FileRecord("server", item.path),))
        for name, item in named
    )
    router = Router(repositories, Addresses(repositories), configured=("http",))

    def nothing(asked):
        return [None] * len(asked)

    return make_plan(
        datasets,
        root=job.place,
        router=router,
        space=Space(1 << 60, 0),
        known=nothing,
        look=lambda _, names: nothing(names),
    )


def one_http(job):
    """ONE: four threads, a connection a file, md5 computed."""
    from one.webclient import http_download_file

    def fetch():
        with ThreadPoolExecutor(4) as pool:
            list(
                pool.map(
                    lambda item: http_download_file(job.url(item), target_dir=_folder(job, item), **quiet), job.items
                )
            )

    quiet = {"silent": True, "return_md5": True}
    return fetch


def one_aws(job):
    """ONE: one file after another, a HEAD and a transfer manager each."""
    from one.remote.aws import get_s3_public, s3_download_file

    resource_, _ = get_s3_public()

    def fetch():
        for item in job.items:
            bucket, _, key = item.path.partition("/")
            s3_download_file(key, Path(job.place, item.path), s3=resource_, bucket_name=bucket)

    return fetch


def boto3_aws(job):
    """boto3's `download_file` in eight threads."""
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    config = Config(signature_version="s3v4" if job.keys else UNSIGNED, max_pool_connections=64)
    s3 = boto3.client("s3", "us-east-1", aws_access_key_id="key", aws_secret_access_key="secret", config=config)

    def one(item):
        bucket, _, key = item.path.partition("/")
        s3.download_file(bucket, key, str(_folder(job, item) / Path(item.path).name))

    def fetch():
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, job.items))

    return fetch


def _folder(job, item):
    folder = Path(job.place, item.path).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def noop(job):
    """Our plan over a tree where everything is proven: nothing to do."""
    from functools import partial

    from tasks.ledger import Ledger
    from tasks.model import Dataset, Outcome, State
    from tasks.plan.disk import look
    from tasks.plan.planfile import Space
    from tasks.plan.sources import Router
    from tasks.planning import make_plan

    root, items = Path(job.place), list(job.items)
    ledger = Ledger.open(root)
    if not ledger.known([items[0].path]):
        stats = ((item, os.stat(root / item.path)) for item in items)
        ledger.record(
            Outcome("d", item.path, State.PRESENT, size=item.size, digest=item.md5, mtime_ns=found.st_mtime_ns)
            for item, found in stats
        )

    def plan():
        datasets = (Dataset(str(n), None, None, item.path, item.size, item.md5) for n, item in enumerate(items))
        router = Router({}, lambda *_: "")
        made = make_plan(
            datasets, root=job.place, router=router, known=ledger.proofs, look=partial(look, root), space=Space(1, 0)
        )
        assert made.present.files == len(items)

    return plan


def main() -> None:
    """Run one, and print what it took as a JSON line."""
    with _AROUND:
        fetch = globals()[sys.argv[1]](Job.load(Path(sys.argv[2])))
        gc.freeze()  # what was imported is no garbage: a look at all of it is part of the imports
        before, begin = _cpu(), time.monotonic()
        fetch()
        took = {"wall": time.monotonic() - begin, "cpu": _cpu() - before, "peak": _peak()}
    print(json.dumps(took), flush=True)
    os._exit(0)  # what prefect keeps running at the end is no part of it


def _cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
