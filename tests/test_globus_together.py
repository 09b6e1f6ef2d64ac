"""Several runs on one root, and what runs that died left there: no file is moved twice, and none is taken away."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from globus_lab import Lab

from deployments.sandbox.globus import RemoteEmulator
from tasks.clients.globus.batches import Batch, Destination, Item, transfer_document
from tasks.clients.globus.journal import Entry, Journal
from tasks.clients.globus.local import LocalEndpoint
from tasks.clients.globus.options import GlobusOptions
from tasks.clients.globus.service import GlobusService
from tests.forks import FORKS

pytest_plugins = ["globus_lab"]

AT_ONCE, FILES = 3, 40


def publish_all(lab, items):
    """Give what was received its final name, as a run does."""

    def deliver(results):
        for result in results:
            if result.staged:
                (lab.root / result.item.key).parent.mkdir(exist_ok=True)
                result.staged.rename(lab.root / result.item.key)
            lab.results[result.item.key] = result

    lab.deliver = deliver
    lab.move(items, there=lambda item: (lab.root / item.key).exists(), batch_files=15)


def child(url, environment, place, items, gate, said):
    os.environ.update(environment)
    lab = Lab(RemoteEmulator(url), Path(place))
    gate.wait()
    publish_all(lab, items)
    said.put((lab.codes(), sum(result.there for result in lab.results.values())))


def test_processes_that_begin_at_once_move_each_file_once(lab, tmp_path):
    items, gate, said = lab.items(FILES), FORKS.Barrier(AT_ONCE), FORKS.Queue()
    arguments = (lab.emulator.url, lab.emulator.environment, str(tmp_path), items, gate, said)
    children = [FORKS.Process(target=child, args=arguments) for _ in range(AT_ONCE)]
    for one in children:
        one.start()
    told = [said.get(timeout=120) for _ in children]
    for one in children:
        one.join()
    assert [set(codes.values()) for codes, _ in told] == [{""}] * AT_ONCE
    assert sum(there for _, there in told) == (AT_ONCE - 1) * FILES
    assert sum(task["files_transferred"] for task in lab.tasks()) == FILES
    assert all((lab.root / item.key).read_bytes() == (lab.source / item.key).read_bytes() for item in items)
    assert list(lab.staging.iterdir()) == []


@pytest.fixture
def other(lab):
    """Another run, of a process that lives."""
    return Journal(lab.staging)


def announce(lab, other, items):
    """What another run writes down before it submits these files."""
    submission = GlobusService(lab.transfer, lab.pace).submission_id()
    batch = Batch(lab.STORE, tuple(items))
    document = transfer_document(
        batch, lab.destination, GlobusOptions(), submission_id=submission, now=lab.pace.now(), verify=True
    )
    other.begin(Entry(submission, document))
    return submission


@pytest.mark.parametrize("there", [True, False])
def test_what_a_living_run_moves_is_waited_for(lab, other, there):
    first, second = lab.items(2)
    submission = announce(lab, other, [first])
    brought = []
    lab.pace.hooks[6] = lambda: (brought.append(first) if there else None, other.ended(submission))
    lab.move([first, second], there=brought.__contains__)
    assert set(lab.codes().values()) == {""}
    assert lab.results[first.key].there == there
    assert sum(task["files_transferred"] for task in lab.tasks()) == (1 if there else 2)


def test_what_a_run_let_go_is_taken_up_with_its_very_submission(lab, other):
    items = lab.items(2)
    announce(lab, other, items)
    lab.pace.hooks[3] = other.close
    lab.move(items)
    assert set(lab.codes().values()) == {""}
    assert len(lab.tasks()) == lab.submissions() == 1
    assert len(lab.emulator.requests("GET /v0.10/submission_id")) == 1


def test_a_run_that_announces_second_steps_back(lab, other, monkeypatch):
    """Both have looked before either has announced: the second one sees the first."""
    items, ask, announced = lab.items(2), GlobusService.submission_id, []

    def while_another_announces(service):
        found = ask(service)
        if not announced:
            announced.append("")
            announced[0] = announce(lab, other, items[:1])
        return found

    monkeypatch.setattr(GlobusService, "submission_id", while_another_announces)
    lab.pace.hooks[5] = lambda: other.ended(announced[0])
    lab.move(items)
    assert set(lab.codes().values()) == {""}
    assert sorted(task["files"] for task in lab.tasks()) == [1, 1]


def test_another_root_on_this_machine_is_no_other_run(lab, tmp_path):
    """The same files, received elsewhere: its task is not ours, though nobody's journal knows it here."""
    elsewhere = Destination(LocalEndpoint(lab.LOCAL, lab.root, str(lab.root)), lab.root / "elsewhere")
    items = lab.items(2)
    lab.emulator.pace(files=0)
    document = transfer_document(
        Batch(lab.STORE, tuple(items)),
        elsewhere,
        GlobusOptions(),
        submission_id=lab.transfer.get_submission_id()["value"],
        now=lab.pace.now(),
        verify=True,
    )
    lab.transfer.submit_transfer(document)
    lab.pace.hooks[2] = lambda: lab.emulator.pace(files=None)
    lab.move(items)
    assert set(lab.codes().values()) == {""}
    assert len(lab.tasks()) == 2


# --- leftovers -------------------------------------------------------------------------------------------


def left_behind(lab, content):
    """A file that a run has received which died before it could publish it, and lost its journal."""
    item = lab.write("a.npy", b"the right bytes")
    item = Item(item.key, item.address, item.size, hashlib.md5(b"the right bytes").hexdigest())
    lab.staging.mkdir(parents=True)
    lab.destination.staged(item).write_bytes(content)
    return item


def test_what_was_received_before_and_proves_is_not_sent_again(lab):
    item = left_behind(lab, b"the right bytes")
    lab.move([item])
    assert lab.results[item.key].staged.read_bytes() == b"the right bytes"
    assert (lab.results[item.key].bytes, lab.submissions()) == (0, 0)


@pytest.mark.parametrize("content", [b"the wrong bytes", b"the right by", b""])
def test_what_was_received_before_and_does_not_prove_is_sent_again(lab, content):
    item = left_behind(lab, content)
    lab.move([item])
    assert lab.results[item.key].staged.read_bytes() == b"the right bytes"
    assert lab.submissions() == 1


def test_what_was_received_before_and_nothing_can_prove_is_compared_by_the_service(lab):
    item = left_behind(lab, b"the wrong bytes")
    item = Item(item.key, item.address, item.size)
    lab.destination.staged(item).write_bytes(b"the wrong bytes")
    lab.move([item])
    assert lab.results[item.key].staged.read_bytes() == b"the right bytes"
