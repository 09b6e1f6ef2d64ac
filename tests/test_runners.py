"""The same flow on threads, processes and Dask: the same tree, and the same summary line."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest

from deployments.sandbox import Lab
from tasks.downloading import download_batch
from tests.engine import data_files
from tests.site import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: A process of its own for each: a runner is chosen when the flows are imported.
SELECTION = {"everything": True, "protocols": ["http", "aws"]}
FETCH = f"""
from pathlib import Path
import sys
from flows.fetching import fetch
from tasks.selection import Selection
if __name__ == "__main__":
    done = fetch(Selection.read({SELECTION}), Path(sys.argv[1]), lambda _: None)
    print(done.summary.lasting(0).line())
"""


@pytest.fixture(scope="module")
def lab(prefect_api):
    with Lab(files=300, file_bytes=5_000) as made:
        yield made


def fetched(lab, prefect_api, root, runner):
    environment = {
        **os.environ,
        **lab.environment(),
        "PREFECT_API_URL": prefect_api,
        "PREFECT_INTEGRATIONS_ALYX_RUNNER": runner,
        "PREFECT_INTEGRATIONS_ALYX_RESERVE_BYTES": "0",
        "PYTHONPATH": str(Path.cwd()),
    }
    script = root.with_suffix(".py")
    script.write_text(FETCH)
    done = subprocess.run(
        [sys.executable, str(script), str(root)], env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1], data_files(root)


def fetched_by_a_pool(lab, prefect_api, folder):
    site = Site(lab, folder)
    site.api = prefect_api
    site.write_file()
    site.deploy()
    try:
        site.start_worker()
        ended = site.ended(site.trigger("download/on-demand", selection=SELECTION, root=str(site.root)))
    finally:
        for process in site.processes:
            site.kill(process)
    line = ended["state"]["message"].partition(". ")[2]
    return re.sub(r"seconds=[\d.]+", "seconds=0", line), data_files(site.root)


@pytest.fixture(scope="module")
def on_threads(lab, prefect_api, tmp_path_factory):
    return fetched(lab, prefect_api, tmp_path_factory.mktemp("threads") / "root", "threads")


@pytest.mark.parametrize("runner", ["processes", "dask", "work pool"])
def test_every_runner_brings_the_same_tree_and_the_same_line(lab, prefect_api, tmp_path, on_threads, runner):
    line, tree = on_threads
    assert "published=" in line
    assert len(tree) > 300
    lab.reset()
    if runner == "work pool":
        assert fetched_by_a_pool(lab, prefect_api, tmp_path) == (line, tree)
    else:
        assert fetched(lab, prefect_api, tmp_path / "root", runner) == (line, tree)


def test_what_crosses_to_another_process_is_small():
    assert list(signature(download_batch.fn).parameters) == ["plan", "batch", "run_id", "label"]
    arguments = ("/data/alyx/.prefect-alyx/plans/0123456789abcdef.jsonl", 7, "run", "batch 8 of 200")
    assert len(pickle.dumps(arguments)) < 300
