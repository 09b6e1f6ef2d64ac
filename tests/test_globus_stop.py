"""A stop ends a managed transfer within ten seconds, whatever Globus does; what it can still do, it does."""

from __future__ import annotations

import socket
import threading

import pytest

from tasks.clients.globus.batches import Item
from tasks.clients.globus.client import GlobusClient
from tasks.clients.globus.https import GlobusHttpsClient
from tasks.clients.globus.journal import Journal
from tasks.clients.seams import Pace
from tasks.clients.tree import Tree
from tasks.clients.verdicts import DownloadError

pytest_plugins = ["globus_lab"]

#: Rule 7: everything stops within ten seconds.
STOP_SECONDS = 10


@pytest.fixture
def silent():
    """A service that takes every connection, and never says a word."""
    taken = threading.Event()
    kept = []

    def listen():
        while True:
            try:
                kept.append(server.accept()[0])
            except OSError:
                return
            taken.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", taken
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in kept:
        connection.close()


def stopped(call, pace, ready):
    """Stop a call once it is ready for it; what it says, and that it says so in time."""
    said = []

    def run():
        try:
            call()
        except DownloadError as failure:
            said.append(failure.code)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(30)
    pace.stop.set()
    thread.join(STOP_SECONDS)
    assert not thread.is_alive()
    return said


def account(lab):
    lab.emulator.tokens(clients=[{"client": lab.STORE, "secret": "s"}])
    return {"client_id": lab.STORE, "client_secret": "s", "local_endpoint": lab.LOCAL, "local_path": "/"}


@pytest.mark.parametrize("service", ["AUTH", "TRANSFER"])
@pytest.mark.parametrize("kind", [GlobusClient, GlobusHttpsClient])
def test_a_service_that_says_nothing_is_left_behind(lab, silent, monkeypatch, service, kind):
    url, taken = silent
    monkeypatch.setenv(f"GLOBUS_SDK_SERVICE_URL_{service}", url)
    pace = Pace()
    client = kind({"name": "r", "globus_endpoint_id": lab.STORE}, account(lab), pace=pace)
    assert stopped(lambda: client.download_file(f"globus://{lab.STORE}/a", lab.root / "a"), pace, taken) == ["stopped"]
    assert list(lab.root.iterdir()) == []


@pytest.mark.parametrize("method", ["submission_id", "transfer", "task/*"])
def test_a_service_that_falls_silent_in_the_middle_is_left_behind(lab, monkeypatch, method):
    """What was sent stays in the journal, so that the next run finds its task."""
    lab.emulator.http_fault(f"* /v0.10/{method}", "delay", seconds=20, times=None)
    pace, asked = Pace(), threading.Event()
    watched = threading.Thread(target=wait_for_request, args=(lab, method.rstrip("*"), asked))
    watched.start()
    client = GlobusClient({"name": "r", "globus_endpoint_id": lab.STORE}, account(lab), pace=pace)
    tree = Tree(lab.root)
    tree.prepare()
    item = lab.write("a.npy")
    assert stopped(lambda: client.move([item], tree, list), pace, asked) == ["stopped"]
    watched.join()
    entries = Journal(lab.staging).entries()
    assert len(entries) == (0 if method == "submission_id" else 1)
    assert not any(Journal(lab.staging).is_held(entry.submission_id) for entry in entries)


def wait_for_request(lab, path, asked):
    while not any(f"/v0.10/{path}" in row["request"] for row in lab.emulator.requests()):
        pass
    asked.set()


def test_a_task_whose_submission_is_answered_during_the_stop_is_cancelled(lab):
    lab.emulator.pace(files=0)
    lab.emulator.http_fault("POST /v0.10/transfer", "delay", seconds=1)
    pace, asked = Pace(), threading.Event()
    watched = threading.Thread(target=wait_for_request, args=(lab, "transfer", asked))
    watched.start()
    client = GlobusClient({"name": "r", "globus_endpoint_id": lab.STORE}, account(lab), pace=pace)
    tree = Tree(lab.root)
    tree.prepare()
    assert stopped(lambda: client.move([lab.write("a.npy")], tree, list), pace, asked) == ["stopped"]
    watched.join()
    (task,) = lab.tasks()
    assert task["fatal_error"]["code"] == "CANCELED"
    assert Journal(lab.staging).entries() == []


def test_what_is_on_disk_already_is_read_only_as_long_as_nobody_stops(lab):
    item = lab.write("a.npy")
    item = Item(item.key, item.address, item.size, "0" * 32)
    lab.staging.mkdir(parents=True)
    lab.destination.staged(item).write_bytes(b"x" * item.size)
    lab.pace.stop.set()
    with pytest.raises(DownloadError, match="stopped"):
        lab.move([item])
