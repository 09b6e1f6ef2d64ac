"""Small files go many at a time through one thread: as safe as one at a time, whatever their server does."""

from __future__ import annotations

import hashlib
import os
import random
import threading

import pytest

from deployments.sandbox.faults import MATRIX, Drop, FaultServer, Flip, Good, Html, Status
from tasks.clients.seams import Pace
from tasks.downloading import Run, download
from tasks.model import Source, State, Transfer
from tasks.settings import AlyxSettings
from tasks.transfer.carrying import Carrier
from tasks.transfer.queueing import SMALL_BYTES
from tests.engine import partials_of
from tests.matrix import playable, trusting
from tests.pace import FakePace

DATA = random.Random(3).randbytes(64 << 10)
SETTINGS = AlyxSettings(connect_seconds=1, stall_seconds=1, connections=8, reserve_bytes=0)


def transfer(server, path, data=DATA, digest=None):
    return Transfer(path, path.lstrip("/"), len(data), digest or hashlib.md5(data).hexdigest(), (source(server, path),))


def source(server, path):
    return Source("http", server.name, f"{server.endpoint}{path}")


class Server(FaultServer):
    """A fault server with a name, as Alyx gives one to a repository."""

    name = "server"


@pytest.fixture
def server():
    with Server() as server:
        yield server


def carried(root, transfers, *servers, pace=None):
    """What became of each transfer, by path."""
    records = {one.name: {"name": one.name, "data_url": f"{one.endpoint}/"} for one in servers}
    run = Run.open("run", root, records, SETTINGS, pace or FakePace())
    outcomes = {}
    for outcome in download(run, transfers):
        outcomes[f"/{outcome.path}"] = outcome
    run.ledger.close()
    assert partials_of(root) == [] or State.FAILED in {outcome.state for outcome in outcomes.values()}
    return outcomes


def test_files_that_come_well_need_one_request_each_and_no_thread(server, tmp_path, monkeypatch):
    files = {f"/a/{number}.npy": DATA[number:] for number in range(300)}
    files |= {f"/b/{number}.npy": bytes([number]) * SMALL_BYTES for number in range(5)}  # these come in many pieces
    for path, data in files.items():
        server.put(path, data)
    monkeypatch.setattr("tasks.transfer.carrying.Carrier.carry", None)
    outcomes = carried(tmp_path, (transfer(server, path, data) for path, data in files.items()), server)
    assert {outcome.state for outcome in outcomes.values()} == {State.PUBLISHED}
    assert {(outcome.attempts, outcome.verified) for outcome in outcomes.values()} == {(1, "md5")}
    assert all((tmp_path / path.lstrip("/")).read_bytes() == data for path, data in files.items())
    assert len(server.hits()) == len(files)
    modes = {(tmp_path / path.lstrip("/")).stat().st_mode & 0o777 for path in files}
    assert modes == {0o666 & ~umask()}  # data is no program, and the umask says who reads it


def umask():
    os.umask(before := os.umask(0))
    return before


class FarServer(Server):
    """A server far away: each answer takes a while. Counts how many requests are under way at a time."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self._count = threading.Lock()

    def answer(self, *request):
        with self._count:
            self.now += 1
            self.most = max(self.most, self.now)
        self.released.wait(0.1)
        with self._count:
            self.now -= 1
        return super().answer(*request)


def test_a_far_server_is_asked_for_as_many_files_at_a_time_as_are_allowed(tmp_path):
    with FarServer() as server:
        files = {f"/{number}.bin": bytes([number]) for number in range(32)}
        for path, data in files.items():
            server.put(path, data)
        outcomes = carried(
            tmp_path, [transfer(server, path, data) for path, data in files.items()], server, pace=Pace()
        )
        assert server.most == SETTINGS.connections
    assert {outcome.state for outcome in outcomes.values()} == {State.PUBLISHED}


def test_over_a_long_line_larger_files_go_along_and_begin_before_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.transfer.carrying.Carrier.carry", None)  # no thread: its connections would be new ones
    files = {f"/{number}.bin": bytes([number]) for number in range(40)}
    files |= {f"/larger-{number}.bin": bytes([number]) * number * SMALL_BYTES for number in (2, 3)}
    with FarServer() as server:
        for path, data in files.items():
            server.put(path, data)
        outcomes = carried(
            tmp_path, [transfer(server, path, data) for path, data in files.items()], server, pace=Pace()
        )
        asked = [hit.path for hit in server.hits()]
    assert {outcome.state for outcome in outcomes.values()} == {State.PUBLISHED}
    assert max(map(asked.index, ("/larger-3.bin", "/larger-2.bin"))) < 2 * SETTINGS.connections  # two of the first


def test_what_is_large_begins_first(server, tmp_path):
    files = {f"/{number}.bin": bytes([number]) * number * SMALL_BYTES for number in range(2, 6)}
    for path, data in files.items():
        server.put(path, data)
    carried(tmp_path, [transfer(server, path, data) for path, data in files.items()], server)
    assert next(hit.path for hit in server.hits()) in {"/5.bin", "/4.bin"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in MATRIX else pytest.mark.slow) for name in playable()]
)
def test_a_fault_of_one_ends_in_the_right_file_or_none_and_hurts_no_other(name, tmp_path):
    fault, pace = playable()[name], FakePace()
    with Server(tls=fault.tls, clock=pace.monotonic, now=pace.now) as server, trusting(server):
        server.put("/good.npy", DATA[1:])
        server.play(fault, "/bad.npy", DATA)
        transfers = [transfer(server, "/bad.npy"), transfer(server, "/good.npy", DATA[1:])]
        bad = carried(tmp_path, transfers, server, pace=pace)["/bad.npy"]
        assert bad.state in (State.PUBLISHED, State.FAILED)
        assert (tmp_path / "bad.npy").exists() == (bad.state is State.PUBLISHED)
        assert bad.state is State.FAILED or (tmp_path / "bad.npy").read_bytes() == DATA
        assert server.sent("/bad.npy") <= fault.ratio * len(DATA)
        assert bad.attempts <= max(SETTINGS.attempts, fault.requests or 0)


def test_a_first_attempt_that_fails_is_one_of_all_attempts_and_its_bytes_are_kept(server, tmp_path):
    server.put("/a.npy", DATA, [Status(503), Drop(0.5), Good()])
    outcome = carried(tmp_path, [transfer(server, "/a.npy")], server)["/a.npy"]
    assert (outcome.state, outcome.attempts) == (State.PUBLISHED, 3)
    assert server.sent("/a.npy") <= 1.02 * len(DATA)


def test_wrong_bytes_are_asked_for_again_and_then_given_up(server, tmp_path):
    server.put("/a.npy", DATA, [Flip()])
    outcome = carried(tmp_path, [transfer(server, "/a.npy")], server)["/a.npy"]
    assert (outcome.state, outcome.code, outcome.attempts) == (State.FAILED, "digest-mismatch", 2)
    assert list(tmp_path.glob("*.npy")) == []


def test_another_source_goes_on_where_the_first_one_stopped(server, tmp_path):
    with Server() as other:
        other.name = "other"
        server.put("/a.npy", DATA, [Drop(0.5)])
        other.put("/a.npy", DATA)
        wanted = Transfer(
            "d", "a.npy", len(DATA), hashlib.md5(DATA).hexdigest(), (source(server, "/a.npy"), source(other, "/a.npy"))
        )
        outcome = carried(tmp_path, [wanted], server, other)["/a.npy"]
        assert (outcome.state, outcome.source, outcome.attempts) == (State.PUBLISHED, "other", 2)
        assert other.sent("/a.npy") <= 0.52 * len(DATA)


def test_where_many_fail_the_rest_is_left_to_threads(server, tmp_path, monkeypatch):
    paths = [f"/{number}.npy" for number in range(50)]
    for path in paths:
        server.put(path, DATA, [Html(), Good()])
    carry, asked = Carrier.carry, []
    monkeypatch.setattr(Carrier, "carry", lambda one, waiting: asked.append(len(server.hits())) or carry(one, waiting))
    outcomes = carried(tmp_path, [transfer(server, path) for path in paths], server)
    assert len(asked) == len(outcomes) == len(paths)
    assert 3 <= asked[0] <= 4


def test_a_digest_that_is_none_is_refused_without_a_request_for_it(server, tmp_path):
    server.put("/a.npy", DATA)
    outcome = carried(tmp_path, [transfer(server, "/a.npy", digest="../../../../../../../../../../../")], server)[
        "/a.npy"
    ]
    assert (outcome.state, outcome.code) == (State.FAILED, "bad-digest")


def test_a_stop_ends_it_and_leaves_nothing_half_done(server, tmp_path):
    paths = [f"/{number}.npy" for number in range(600)]
    for path in paths:
        server.put(path, DATA)
    pace = Pace()
    run = Run.open("run", tmp_path, {"server": {"name": "server", "data_url": f"{server.endpoint}/"}}, SETTINGS, pace)
    outcomes = []
    for outcome in download(run, (transfer(server, path) for path in paths)):
        outcomes.append(outcome)
        pace.stop.set()
    assert 0 < len(outcomes) < len(paths)
    assert len(list(tmp_path.glob("*.npy"))) == sum(outcome.state is State.PUBLISHED for outcome in outcomes)
    assert partials_of(tmp_path) == []
