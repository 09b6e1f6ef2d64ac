"""The demo: it shows what it promises, and it is honest when something else fails than what was planted."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from prefect.settings import PREFECT_HOME, temporary_settings

from deployments.sandbox.lab import Lab
from deployments.sandbox.model import Fate
from flows import local_server
from flows.demo import _Demo, demo, environment
from tests.shell import ROOT, run
from tests.snippets import blocks, plain

FILE_SERVERS = ("http", "members", "s3")


@pytest.fixture(scope="module")
def shown(prefect_api, tmp_path_factory):
    """`prefect-alyx demo --root ...`, in a shell of its own."""
    root = tmp_path_factory.mktemp("demo") / "files"
    return run(dict(os.environ), "demo", "--root", root), root


@pytest.mark.slow
def test_it_ends_well_and_shows_each_source(shown):
    done, _ = shown
    assert done.code == 0, done.err
    first, second = re.split(r"^The second run: ", done.out, flags=re.MULTILINE)
    assert first.startswith("\nThe first run: 1 of 60 files failed\n")
    for source in (
        "aws +aws_cortexlab",
        "aws +aws_churchlandlab",
        "http +flatiron_cortexlab",
        "http +members_cortexlab",
        "globus +churchlandlab_SR",
        "kachary +kachery",
    ):
        assert re.search(rf"^  {source} +\d+ files? +[\d.]+ [kM]B$", first, re.MULTILINE), source
    assert "NOT AS PLANTED" not in done.out
    assert second.startswith("Nothing to do")
    assert "The second run made 0 file requests." in second
    assert re.search(r"^Look at both runs: http://127\.0\.0\.1:\d+/runs ", second, re.MULTILINE)


@pytest.mark.slow
def test_it_shows_the_planted_failure_once_a_run_with_its_next_step(shown):
    done, _ = shown
    lines = [line.strip() for line in done.out.splitlines()]
    (at,) = [number for number, line in enumerate(lines) if line.startswith("failed ")]
    assert lines[at].endswith("KS014/2020-11-10/002/alf/probe00/spikes.times.npy")
    said = " ".join(lines[at + 1 : at + 6])
    assert said.startswith("aws_cortexlab, flatiron_cortexlab: The file's digest at this source is not what")
    assert "[digest-mismatch] Compare the file on the server with Alyx: one of the two is wrong." in said


@pytest.mark.slow
def test_the_readme_shows_what_it_shows(shown):
    done, _ = shown
    (block,) = (one for one in blocks(ROOT / "README.md") if one.text.startswith("The first run: "))
    for line in block.text.splitlines():
        if line.strip() != "...":
            assert plain(line) in plain(done.out)


@pytest.mark.slow
def test_it_keeps_the_files_where_it_is_told_to(shown):
    _, root = shown
    with Lab() as lab:
        wanted = {truth.path: truth.md5 for truth in lab.manifest.values() if truth.fate is Fate.PUBLISHED}
    assert {path: hashlib.md5((root / path).read_bytes()).hexdigest() for path in wanted} == wanted


@pytest.mark.slow
def test_it_talks_on_standard_error_only(shown):
    done, _ = shown
    assert done.err.startswith("Starting a lab on loopback: Alyx, two file servers, S3, Globus, kachery ...\n")
    assert "Traceback" not in done.err


def damaged_before(lab, _root):
    """One file has wrong bytes on every server."""
    victim = lab.world.odd("sha1")
    for path in lab.paths(victim, FILE_SERVERS):
        path.write_bytes(victim.stale)
    return [f"{victim.path} is missing", f"{victim.path} is failed, published was planted"]


def spoilt_after(lab, root):
    """What was published changes under its name, and what must not be there is; then Alyx registers other bytes."""
    victim, wrong = lab.world.odd("sha1"), lab.world.odd("wrong-digest")
    (root / victim.path).write_bytes(victim.stale)
    (root / wrong.path).write_bytes(wrong.content)
    lab.rewrite(lab.world.odd("dashes"), b"other bytes")
    return [
        f"{victim.path} differs from the lab's data",
        f"{wrong.path} is there and should not be",
        "the second run published 2 files",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("sabotage", "moment"), [(damaged_before, ""), (spoilt_after, "\nThe first run: ")])
def test_it_is_honest(sabotage, moment, prefect_api, tmp_path):
    shown, wrong = [], []

    def show(line):
        shown.append(line)
        if moment and line.startswith(moment):
            wrong.extend(sabotage(lab, tmp_path))

    with Lab() as lab:
        if not moment:
            wrong.extend(sabotage(lab, tmp_path))
        assert demo(lab, tmp_path, serve=False, say=print, show=show) == 1
    assert wrong
    for words in wrong:
        assert f"NOT AS PLANTED: {words}" in shown


def test_another_shell_finds_the_lab_and_the_server_that_shows_the_runs(monkeypatch):
    monkeypatch.setattr("signal.sigwait", lambda _: None)
    shown, lab = [], SimpleNamespace(environment=lambda: {"ALYX_URL": "http://127.0.0.1:9"})
    with environment(lab.environment()):
        _Demo(lab, Path("data"), shown.append, shown.append)._serve()
        assert f"export PREFECT_HOME={os.environ['PREFECT_HOME']}" in shown
    assert "export ALYX_URL=http://127.0.0.1:9" in shown


# --- its server -------------------------------------------------------------------------------------------


@pytest.fixture
def prefect_home(tmp_path):
    with temporary_settings(updates={PREFECT_HOME: tmp_path}):
        yield tmp_path


@pytest.fixture
def process():
    """A process with a child, both of which stay until they are ended."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as made:
        made.stdout.readline()
        yield psutil.Process(made.pid)
        made.kill()


def remember(process, born):
    """Write the state file of a server that this process might be."""
    state = local_server._state_file()
    server = local_server.LocalServer("http://127.0.0.1:9/api", process.pid, born)
    state.write_text(json.dumps(asdict(server)))
    return state


def test_stop_ends_the_server_and_its_children(command, prefect_home, process):
    state = remember(process, process.create_time())
    family = [process, *process.children()]
    assert len(family) == 2
    done = command("demo", "--stop")
    assert (done.code, done.out) == (0, "")
    assert done.err == "Stopping the local Prefect server at http://127.0.0.1:9 ...\n"
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert not state.exists()


def test_stop_without_a_server(command, prefect_home):
    done = command("demo", "--stop")
    assert (done.code, done.out, done.err) == (0, "", "No local Prefect server runs.\n")


def test_stop_leaves_a_stranger_alone_who_got_the_number(command, prefect_home, process):
    remember(process, process.create_time() - 60)
    assert command("demo", "--stop").err == "No local Prefect server runs.\n"
    assert process.is_running()
