"""Globus in a run: several protocols in one plan, kills at every step, the report."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal

import pytest
from globus_lab import CLIENT, LinkedPace

from deployments.sandbox.full import FullLab
from deployments.sandbox.globus import TRANSFER_SCOPE, RemoteEmulator
from tasks.clients.globus.journal import Journal
from tasks.clients.globus.service import GlobusService
from tasks.clients.partials import Partials
from tasks.downloading import Run, download
from tasks.model import Source, State, Transfer
from tasks.preparing import prepare
from tasks.selection import Selection
from tasks.settings import AlyxSettings
from tasks.transfer.managed import Delivery
from tests.forks import FORKS
from tests.lab_runs import carry_out

pytest_plugins = ["globus_lab"]

FILES = 6
RECORD = {"name": "store", "globus_path": "/", "globus_is_personal": False}


@pytest.fixture
def site(lab, tmp_path, monkeypatch):
    """A root, a login in ONE's store, and a repository with some files."""
    home = tmp_path / "home"
    (home / ".one").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    lab.emulator.tokens(refresh=[{"token": "Rg", "client": CLIENT, "scope": TRANSFER_SCOPE}])
    profile = {"GLOBUS_CLIENT_ID": CLIENT, "refresh_token": "Rg", "local_endpoint": lab.LOCAL, "local_path": "/"}
    (home / ".one" / ".remote").write_text(json.dumps({"globus": {"default": profile}}))
    return lab


def transfers(lab, count=FILES):
    """Transfers of files that only Globus has."""
    found = []
    for item in lab.items(count):
        digest = hashlib.md5((lab.source / item.key).read_bytes()).hexdigest()
        sources = (Source("globus", "store", item.address),)
        found.append(Transfer(item.key, item.key, item.size, digest, sources))
    return found


def run_of(emulator, root, name="run"):
    record = {**RECORD, "globus_endpoint_id": "aaaaaaaa-0000-4000-8000-000000000001"}
    return Run.open(name, root, {"store": record}, AlyxSettings(reserve_bytes=0), LinkedPace(emulator))


def fetch(emulator, root, wanted):
    run = run_of(emulator, root)
    outcomes = {outcome.path: outcome for outcome in download(run, wanted)}
    run.ledger.close()
    return run, outcomes


def complete(lab, wanted):
    return all((lab.root / one.path).read_bytes() == (lab.source / one.path).read_bytes() for one in wanted)


def test_a_run_publishes_what_globus_brings_and_says_which_task_it_was(site):
    wanted = transfers(site)
    run, outcomes = fetch(site.emulator, site.root, wanted)
    assert {outcome.state for outcome in outcomes.values()} == {State.PUBLISHED}
    assert complete(site, wanted)
    (task,), (note,) = site.tasks(), run.notes()
    assert note.startswith(f"Globus moved {FILES} files, ")
    assert note.endswith(f"/s: https://app.globus.org/activity/{task['task_id']}")


def test_progress_of_a_run_moves_while_globus_moves_bytes_and_never_counts_them_twice(site):
    wanted, seen = transfers(site), []
    site.emulator.pace(files=2)
    run = run_of(site.emulator, site.root)
    run.pace.hooks[4] = lambda: site.emulator.pace(files=None)
    progress = Delivery._progress

    def watched(delivery, *told):
        progress(delivery, *told)
        seen.append(run.bytes_done())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Delivery, "_progress", watched)
        list(download(run, wanted))
    run.ledger.close()
    total = sum(one.size for one in wanted)
    assert seen == sorted(seen)
    assert any(0 < count < total for count in seen)
    assert max(seen) == run.bytes_done() == total


def test_more_files_come_at_once_than_may_be_open(site):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = transfers(site, 300)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 250), hard))
    try:
        _, outcomes = fetch(site.emulator, site.root, wanted)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {outcome.state for outcome in outcomes.values()} == {State.PUBLISHED}


# --- kills -------------------------------------------------------------------------------------------------

#: Where a run is killed: a function, and whether its work is done before.
STEPS = {
    "before the submission is written down": (Journal, "begin", False),
    "when it is written down": (Journal, "begin", True),
    "when it was sent, before the answer is written down": (GlobusService, "submit", True),
    "when the task is written down": (Journal, "submitted", True),
    "while the task is watched": (GlobusService, "task", True),
    "before what has come is adopted": (Delivery, "_deliver", False),
    "when the first files are adopted": (Partials, "adopt", True),
    "when all is published, before the submission is closed": (Delivery, "_deliver", True),
    "when the submission is closed": (Journal, "ended", True),
}


def killed(url, environment, root, wanted, step):
    os.environ.update(environment)
    place, name, afterwards = STEPS[step]
    work = getattr(place, name)

    def work_and_die(*arguments, **keywords):
        if afterwards:
            work(*arguments, **keywords)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, name, work_and_die)
    fetch(RemoteEmulator(url), root, wanted)


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_leaves_one_task_and_the_next_one_completes_it(site, step):
    wanted = transfers(site)
    environment = {**site.emulator.environment, "HOME": os.environ["HOME"]}
    child = FORKS.Process(target=killed, args=(site.emulator.url, environment, site.root, wanted, step))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    _, outcomes = fetch(site.emulator, site.root, wanted)
    assert {outcome.state for outcome in outcomes.values()} <= {State.PUBLISHED, State.PRESENT}
    assert complete(site, wanted)
    assert len(site.tasks()) == 1
    assert sum(task["files_transferred"] for task in site.tasks()) == FILES
    journal = Journal(site.staging)
    assert not any(journal.is_held(entry.submission_id) for entry in journal.entries())


# --- several protocols -------------------------------------------------------------------------------------


def test_one_plan_takes_some_files_from_globus_and_some_from_s3(tmp_path, monkeypatch):
    with FullLab() as full:
        for name, value in full.environment().items():
            monkeypatch.setenv(name, value)
        world = full.lab.world
        chosen = [one for one in world.datasets.values() if one.kind in ("", "only-laptop") and one.session][:12]
        chosen += [world.odd("only-laptop")]
        ids = sorted({one.id for one in chosen})
        plan = prepare(Selection.read({"dataset_ids": ids, "protocols": ["aws", "globus"]}), tmp_path, AlyxSettings())
        outcomes = carry_out(plan)
    given = {outcome.protocol for outcome in outcomes.values() if outcome.state is State.PUBLISHED}
    assert given == {"aws", "globus"}
    assert len(outcomes) == len(ids)
    content = {one.path: one.content for one in chosen}
    assert all((tmp_path / path).read_bytes() == content[path] for path in outcomes)
