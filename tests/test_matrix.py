"""No fault gets through: the whole catalogue for every client, and resets at every byte."""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deployments.sandbox.faults import (
    MATRIX,
    Drop,
    Expire,
    FaultServer,
    Flip,
    Good,
    NoLength,
    Stall,
    Status,
    Validators,
)
from tasks.clients import DownloadError, Verdict, WireOptions, client_class, client_for
from tasks.clients.patience import Holds
from tests.matrix import CLIENTS, meet, playable
from tests.pace import FakePace

DATA = random.Random(1).randbytes(1_200_017)
MD5 = hashlib.md5(DATA).hexdigest()
QUICK = WireOptions(connect_seconds=1, stall_seconds=1)


@pytest.fixture(autouse=True)
def _nobody_at_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(params=CLIENTS)
def protocol(request):
    return request.param


@pytest.fixture(params=[name for name in CLIENTS if not client_class(name).capabilities.by_digest])
def pathwise(request):
    """A protocol whose address says nothing about the bytes."""
    return request.param


@pytest.mark.parametrize("name", playable())
def test_a_fault_ends_in_the_right_file_or_in_an_error_and_no_file(protocol, name, tmp_path):
    cell = meet(protocol, playable()[name], DATA, tmp_path / "lab" / "a.npy")
    assert cell.passed, cell


def fetch(client, target):
    return client.download_file(client.to_address("a.npy"), target, size=len(DATA), digest=MD5)


CHUNK = 512 * 1024


@given(places=st.lists(st.integers(0, 3 * CHUNK), min_size=1, max_size=3))
@example(places=[0])
@example(places=[1])
@example(places=[CHUNK - 1])
@example(places=[CHUNK])
@example(places=[CHUNK + 1])
@example(places=[len(DATA) - 1])
@example(places=[len(DATA)])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_resets_at_any_byte_cost_no_byte_twice(protocol, places):
    with tempfile.TemporaryDirectory() as folder, FaultServer() as server:
        server.put("/a.npy", DATA, [*(Drop(place) for place in places), Good()])
        target = fetch(CLIENTS[protocol](server, QUICK, FakePace()), Path(folder) / "a.npy")
        assert target.read_bytes() == DATA
        assert server.sent("/a.npy") <= 1.02 * len(DATA)


def test_a_good_local_file_survives_every_fault_of_its_remote(protocol, tmp_path):
    target = tmp_path / "a.npy"
    for name, fault in MATRIX.items():
        target.write_bytes(DATA)
        meet(protocol, fault, DATA, target)
        assert target.read_bytes() == DATA, name


def test_a_failure_leaves_no_litter(protocol, tmp_path):
    with FaultServer() as server:
        server.put("/a.npy", DATA, [Flip()])
        with pytest.raises(DownloadError):
            fetch(CLIENTS[protocol](server, QUICK, FakePace()), tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_file_is_continued_by_the_next_client(protocol, tmp_path):
    """Also over another address: with a digest, the bytes belong to the content and not to the URL."""
    with FaultServer() as server:
        server.put("/a.npy", DATA, [Drop(0.75), Status(404)])
        server.put("/b.npy", DATA)
        pace = FakePace()
        with pytest.raises(DownloadError):
            fetch(CLIENTS[protocol](server, QUICK, pace), tmp_path / "a.npy")
        client = CLIENTS[protocol](server, QUICK, pace)
        client.download_file(client.to_address("b.npy"), tmp_path / "a.npy", size=len(DATA), digest=MD5)
        assert (tmp_path / "a.npy").read_bytes() == DATA
        assert server.sent("/b.npy") <= 0.27 * len(DATA)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_without_a_digest_another_version_is_never_spliced(pathwise, tmp_path):
    old, new = b"old " * 200_000, b"new " * 200_000
    with FaultServer() as server:
        pace = FakePace()
        server.put("/a.bin", old, [Drop(0.5), Status(404)])
        client = CLIENTS[pathwise](server, QUICK, pace)
        address = client.to_address("a.bin")
        with pytest.raises(DownloadError):
            client.download_file(address, tmp_path / "a.bin")
        server.put("/a.bin", new)
        CLIENTS[pathwise](server, QUICK, pace).download_file(address, tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == new


def test_without_a_digest_the_same_version_is_continued(pathwise, tmp_path):
    with FaultServer() as server:
        pace = FakePace()
        server.put("/a.bin", DATA, [Drop(0.5), Status(404), Good()])
        client = CLIENTS[pathwise](server, QUICK, pace)
        with pytest.raises(DownloadError):
            client.download_file(client.to_address("a.bin"), tmp_path / "a.bin")
        CLIENTS[pathwise](server, QUICK, pace).download_file(client.to_address("a.bin"), tmp_path / "a.bin")
        assert server.sent("/a.bin") <= 1.02 * len(DATA)
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_without_a_digest_and_without_a_validator_it_begins_again(pathwise, tmp_path):
    with FaultServer() as server:
        server.put("/a.bin", DATA, [Validators() + Drop(0.5), Validators()])
        client = CLIENTS[pathwise](server, QUICK, FakePace())
        client.download_file(client.to_address("a.bin"), tmp_path / "a.bin")
        assert server.sent("/a.bin") >= 1.45 * len(DATA)
    assert (tmp_path / "a.bin").read_bytes() == DATA


@pytest.mark.parametrize("name", ["a.npy", "a.pqt", "a.mp4", "a.cbin", "a.tsv"])
def test_without_a_digest_a_page_is_never_data(pathwise, tmp_path, name):
    page = b"\n <!DOCTYPE html><html><body>Sorry, we are closed</body></html>"
    with FaultServer() as server:
        server.put(f"/{name}", page)
        client = CLIENTS[pathwise](server, QUICK, FakePace())
        with pytest.raises(DownloadError) as caught:
            client.download_file(client.to_address(name), tmp_path / name)
    assert caught.value.code == "not-data"
    assert list(tmp_path.iterdir()) == []


def test_a_partial_that_is_whole_already_costs_no_byte(protocol, tmp_path):
    with FaultServer() as server:
        server.put("/a.npy", DATA, [NoLength() + Drop(1.0), Status(404)])
        client = CLIENTS[protocol](server, QUICK, FakePace())
        # The reset after the last byte leaves a whole partial; it is proven without another request.
        fetch(client, tmp_path / "a.npy")
        assert server.sent("/a.npy") == len(DATA)
        assert len(server.hits("/a.npy")) == 1


def test_credentials_that_expire_cost_two_requests_and_stop_the_run(tmp_path):
    """One refused file, and one look at a file that was had before; then nothing is asked any more."""
    with FaultServer() as server:
        server.gate = Expire(3)
        for number in range(10):
            server.put(f"/{number}.npy", DATA)
        repository = {"name": "r", "data_url": server.endpoint, "globus_is_personal": False}
        login = {"HTTP_DATA_SERVER_LOGIN": "u", "HTTP_DATA_SERVER_PWD": "p"}
        client = client_for("http", repository, login, QUICK, pace=FakePace())
        verdicts = []
        for number in range(10):
            try:
                client.download_file(
                    client.to_address(f"{number}.npy"), tmp_path / f"{number}.npy", size=len(DATA), digest=MD5
                )
            except DownloadError as failure:
                verdicts.append(failure.verdict)
                break
        assert verdicts == [Verdict.STOP_RUN]
        assert sum(hit.held for hit in server.hits()) == 2
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_a_file_that_is_forbidden_does_not_stop_the_run(tmp_path):
    with FaultServer() as server:
        server.put("/good.npy", DATA)
        server.put("/private.npy", DATA, [Status(403)])
        repository = {"name": "r", "data_url": server.endpoint, "globus_is_personal": False}
        login = {"HTTP_DATA_SERVER_LOGIN": "u", "HTTP_DATA_SERVER_PWD": "p"}
        client = client_for("http", repository, login, QUICK, pace=FakePace())
        client.download_file(client.to_address("good.npy"), tmp_path / "good.npy", size=len(DATA), digest=MD5)
        for _ in range(3):
            with pytest.raises(DownloadError) as caught:
                client.download_file(
                    client.to_address("private.npy"), tmp_path / "private.npy", size=len(DATA), digest=MD5
                )
            assert caught.value.verdict is Verdict.NEXT_SOURCE


def test_forbidden_files_that_come_first_stop_nothing_and_credentials_that_open_no_file_stop_soon(tmp_path):
    """A run that has only the forbidden files of a release left, or meets them first, is no run without a login."""
    with FaultServer() as server:
        server.put("/good.npy", DATA)
        for number in range(20):
            server.put(f"/{number}.npy", DATA, [Status(403)])
        repository = {"name": "r", "data_url": server.endpoint, "globus_is_personal": False}
        login = {"HTTP_DATA_SERVER_LOGIN": "u", "HTTP_DATA_SERVER_PWD": "p"}

        def verdict(client, name):
            try:
                client.download_file(client.to_address(name), tmp_path / name, size=len(DATA), digest=MD5)
            except DownloadError as failure:
                return failure.verdict
            return None

        first = client_for("http", repository, login, QUICK, pace=FakePace())
        assert {verdict(first, f"{number}.npy") for number in range(5)} == {Verdict.NEXT_SOURCE}
        assert verdict(first, "good.npy") is None
        second = client_for("http", repository, login, QUICK, pace=FakePace())
        assert Verdict.STOP_RUN in [verdict(second, f"{number}.npy") for number in range(16)]


def test_a_storm_of_429_is_met_with_patience_and_spread(protocol, tmp_path):
    """32 workers, each a process's worth of state: none comes back too soon, and not all at once."""
    data = DATA[:5000]
    paces = [FakePace() for _ in range(32)]

    def work(number):
        client = CLIENTS[protocol](server, WireOptions(), paces[number])
        client.wire.holds = Holds()
        target = tmp_path / f"{number}.npy"
        return client.download_file(client.to_address(target.name), target, digest=hashlib.md5(data).hexdigest())

    with FaultServer() as server:
        for number in range(32):
            server.put(f"/{number}.npy", data, [Status(429, retry_after="10"), Status(429, retry_after="10"), Good()])
        with ThreadPoolExecutor(32) as pool:
            targets = list(pool.map(work, range(32)))
        assert all(target.read_bytes() == data for target in targets)
        assert len(server.hits()) == 3 * 32
    first, second = zip(*([wait for wait in pace.waits if wait > 0.1] for pace in paces), strict=True)
    for waits in (first, second):
        assert all(9.5 <= wait <= 20 for wait in waits), "never sooner than Retry-After allows"
        assert max(waits) - min(waits) >= 5, "spread over at least half of the window"


def test_workers_of_one_process_leave_a_host_alone_that_asked_one_of_them_to(protocol, tmp_path):
    with FaultServer() as server:
        server.put("/0.npy", DATA, [Status(503, retry_after="30"), Good()])
        server.put("/1.npy", DATA)
        pace = FakePace()
        client = CLIENTS[protocol](server, WireOptions(attempts=1), pace)
        client.wire.holds = Holds()
        with pytest.raises(DownloadError):
            client.download_file(client.to_address("0.npy"), tmp_path / "0.npy", digest=MD5)
        client.download_file(client.to_address("1.npy"), tmp_path / "1.npy", digest=MD5)
        assert 29 <= max(pace.waits) <= 60


@pytest.mark.parametrize("wait", ["1000000000", "86400", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_file_whose_server_asks_for_days_is_given_up_and_holds_no_other(protocol, tmp_path, wait):
    with FaultServer() as server:
        server.put("/0.npy", DATA, [Status(503, retry_after=wait)])
        server.put("/1.npy", DATA)
        pace = FakePace()
        client = CLIENTS[protocol](server, WireOptions(), pace)
        with pytest.raises(DownloadError, match="patience"):
            client.download_file(client.to_address("0.npy"), tmp_path / "0.npy", digest=MD5)
        client.download_file(client.to_address("1.npy"), tmp_path / "1.npy", digest=MD5)
        assert (tmp_path / "1.npy").read_bytes() == DATA
        assert len(server.hits("/0.npy")) == 1
        assert max(pace.waits, default=0) < 60


def test_a_file_that_a_bandwidth_limit_gives_days_waits_none_of_them_for_a_server_that_asks_to(protocol, tmp_path):
    with FaultServer() as server:
        server.put("/0.npy", DATA, [Status(429, retry_after="86400"), Good()])
        pace = FakePace()
        client = CLIENTS[protocol](server, WireOptions(meter=lambda _bytes: None), pace)
        with pytest.raises(DownloadError, match="patience"):
            client.download_file(client.to_address("0.npy"), tmp_path / "0.npy", digest=MD5)
        assert max(pace.waits, default=0) < 60


def wait_for_partial(root, size):
    """What a server has sent may still be on its way to the disk."""
    deadline = time.monotonic() + 30
    while sum(path.stat().st_size for path in root.rglob("*.part")) < size:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_stop_is_seen_in_a_stalled_transfer_and_leaves_a_resumable_partial(protocol, tmp_path):
    pace = FakePace()
    with FaultServer() as server:
        server.put("/a.npy", DATA, [Stall(0.5), Good()])
        client = CLIENTS[protocol](server, WireOptions(stall_seconds=3600), pace)
        caught = []

        def work():
            try:
                fetch(client, tmp_path / "a.npy")
            except DownloadError as failure:
                caught.append(failure.code)

        thread = threading.Thread(target=work)
        thread.start()
        assert server.stalling.wait(30)
        wait_for_partial(tmp_path, len(DATA) // 2)
        pace.stop.set()
        thread.join(10)
        assert not thread.is_alive()
        assert caught == ["stopped"]
        fetch(CLIENTS[protocol](server, QUICK, FakePace()), tmp_path / "a.npy")
        assert server.sent("/a.npy") <= 1.02 * len(DATA)
    assert (tmp_path / "a.npy").read_bytes() == DATA


def test_a_name_that_does_not_resolve_is_asked_again(tmp_path):
    pace = FakePace()
    repository = {"name": "r", "data_url": "http://files.invalid/", "globus_is_personal": False}
    client = client_for("http", repository, {}, QUICK, pace=pace)
    with pytest.raises(DownloadError) as caught:
        client.download_file(client.to_address("a.npy"), tmp_path / "a.npy")
    assert caught.value.code == "dns"
    assert caught.value.verdict is Verdict.RETRY
    assert len(pace.waits) >= QUICK.attempts


def test_a_full_disk_stops_within_one_chunk(protocol, tmp_path):
    """Through a file-size limit, which the kernel enforces as it does a full disk."""
    with FaultServer() as server:
        server.put("/a.npy", DATA)
        child = os.fork()
        if not child:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
            try:
                fetch(CLIENTS[protocol](server, QUICK, FakePace()), tmp_path / "a.npy")
            except DownloadError as failure:
                full = failure.verdict is Verdict.STOP_RUN and "bytes are free there, and this" in failure.reason
                os._exit(0 if full else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not (tmp_path / "a.npy").exists()
        fetch(CLIENTS[protocol](server, QUICK, FakePace()), tmp_path / "a.npy")
        assert server.sent("/a.npy") <= 2 * len(DATA)  # what came is given back, for the ledger to have room
    assert (tmp_path / "a.npy").read_bytes() == DATA
