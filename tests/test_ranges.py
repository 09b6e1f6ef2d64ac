"""Large files in ranges: several connections to one file where that pays, and none of the ways it can go wrong."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest

from deployments.sandbox.faults import (
    SLOW,
    SPLIT,
    Drip,
    FaultServer,
    Good,
    Header,
    IgnoreConditions,
    IgnoreRange,
    Other,
    Stall,
    Status,
    Validators,
)
from tasks.clients import WireOptions, stream
from tests.matrix import CLIENTS, meet
from tests.pace import FakePace
from tests.sabotage import make_eager

DATA = random.Random(1).randbytes(1_200_017)
MD5 = hashlib.md5(DATA).hexdigest()
EAGER = WireOptions(connect_seconds=1, stall_seconds=1, split_bytes=100_000, connections=6)


@pytest.fixture(autouse=True)
def _eager(monkeypatch, tmp_path):
    """What is a second and some megabytes on a long line, in a test's measures."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    make_eager(monkeypatch.setattr)


@pytest.mark.parametrize("name", SPLIT)
def test_a_fault_in_one_range_ends_as_it_would_in_the_whole(name, tmp_path):
    cell = meet("http", SPLIT[name], DATA, tmp_path / "a.npy", EAGER)
    assert cell.passed, cell
    assert cell.requests > 1
    assert set(tmp_path.iterdir()) <= {tmp_path / "a.npy"}


def get(server, target, protocol="http", *, name="a.npy", options=EAGER, pace=None, **registered):
    client = CLIENTS[protocol](server, options, pace or FakePace())
    return client.download_file(client.to_address(name), target, **{"size": len(DATA), "digest": MD5, **registered})


@pytest.mark.parametrize("protocol", CLIENTS)
def test_a_slow_line_is_used_several_times_at_once(protocol, tmp_path):
    with FaultServer() as server:
        server.put("/a.npy", DATA, [SLOW])
        assert get(server, tmp_path / "a.npy", protocol).read_bytes() == DATA
        gets = server.hits("/a.npy", "GET")
        assert len({hit.connection for hit in gets}) > 2
        assert not server.hits("/a.npy", "HEAD")
        assert server.sent("/a.npy") <= 1.12 * len(DATA)
        assert {hit.headers.get("If-Range") for hit in gets[1:]} == {f'"{MD5}"'}


@pytest.mark.parametrize(
    ("answer", "options", "registered"),
    [
        (SLOW, replace(EAGER, connections=1), {}),
        (SLOW, replace(EAGER, bytes_per_second=10_000_000), {}),
        (SLOW, replace(EAGER, meter=lambda _: None), {}),
        (SLOW, replace(EAGER, split_bytes=len(DATA) + 1), {}),
        (SLOW + Header("Accept-Ranges", None), EAGER, {}),
        (SLOW + Header("Accept-Ranges", "none"), EAGER, {}),
        (SLOW + Validators(), EAGER, {"digest": None}),
        (SLOW + Validators('W/"1"'), EAGER, {"digest": None}),
        (SLOW, EAGER, {"size": None}),
    ],
    ids=[
        "one connection allowed",
        "a limit of speed",
        "a limit shared with others",
        "a small file",
        "a server that says nothing of ranges",
        "a server that has none",
        "neither digest nor validator",
        "no digest and a weak validator",
        "no size",
    ],
)
def test_one_connection_stays_the_rule(answer, options, registered, tmp_path):
    with FaultServer() as server:
        server.put("/a.bin", DATA, [answer])
        get(server, tmp_path / "a.bin", name="a.bin", options=options, **registered)
        assert len(server.hits()) == 1
        assert server.sent() == len(DATA)


def test_a_fast_line_is_used_once(tmp_path, monkeypatch):
    monkeypatch.undo()  # nothing is made small but the size from which a file is large
    with FaultServer() as server:
        server.put("/a.npy", DATA)
        get(server, tmp_path / "a.npy")
        assert len(server.hits()) == 1


def test_without_a_digest_the_validator_is_enough(tmp_path):
    with FaultServer() as server:
        server.put("/a.bin", DATA, [SLOW])
        assert get(server, tmp_path / "a.bin", name="a.bin", digest=None).read_bytes() == DATA
        assert len(server.hits()) > 2


@pytest.mark.parametrize("known", [MD5, None])
def test_an_object_replaced_in_mid_set_is_never_spliced(known, tmp_path):
    """The first connection brings one file, and all further ones another of the same size."""
    other = bytes(255 - byte for byte in DATA)
    for ignores in (SLOW, SLOW + IgnoreConditions()):
        target = tmp_path / "a.bin"
        with FaultServer() as server:
            server.put("/a.bin", DATA, [Other() + SLOW, ignores])
            assert get(server, target, name="a.bin", digest=known).read_bytes() in {DATA, other}
            assert len(server.hits()) > 1
        target.unlink()


class Crowd:
    """Waits between two pieces of a slow answer, and counts how many answers do so at once."""

    def __init__(self):
        self.now = self.most = 0
        self._lock = threading.Lock()

    def wait(self, seconds):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(seconds)
        with self._lock:
            self.now -= 1
        return False


def test_a_host_sees_no_more_connections_than_it_is_to_see(tmp_path):
    """Also while other files begin: what was borrowed is given back. The server learns a little late who hung up."""
    crowd, options = Crowd(), replace(EAGER, connections=5)
    with FaultServer(wait=crowd.wait) as server:
        for number in range(3):
            server.put(f"/{number}.npy", DATA, [SLOW])
        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(get, server, tmp_path / "0.npy", name="0.npy", options=options)]
            while crowd.most < options.connections and not done[0].done():
                wait(done, 0.01)
            later = ("1.npy", "2.npy")
            done += [pool.submit(get, server, tmp_path / name, name=name, options=options) for name in later]
            assert all(one.result().read_bytes() == DATA for one in done)
    assert options.connections <= crowd.most <= options.connections + 2


def stopped_half_way(server, target):
    """A download that is asked to stop while several connections are under way; one of them has fallen silent."""
    pace = FakePace()
    with ThreadPoolExecutor(1) as pool:
        server.put("/a.npy", DATA, [SLOW, SLOW, SLOW + Stall(0.02), SLOW])
        done = pool.submit(get, server, target, options=replace(EAGER, stall_seconds=3600), pace=pace)
        while server.sent() < len(DATA) // 2 and not done.done():
            wait([done], 0.01)
        pace.stop.set()
        return done.exception(10)


def test_stop_is_seen_by_every_connection_and_what_came_is_not_asked_for_again(tmp_path):
    with FaultServer() as server:
        assert stopped_half_way(server, tmp_path / "a.npy").code == "stopped"
        left = {path.name: path.stat().st_size for path in tmp_path.rglob("*") if ".free." in path.name}
        assert any(name.endswith(".piece") for name in left)
        server.put("/b.npy", DATA, [Good()])
        assert get(server, tmp_path / "a.npy", name="b.npy").read_bytes() == DATA
        assert server.sent("/b.npy") == len(DATA) - sum(left.values())
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_what_came_in_ranges_is_worth_nothing_to_a_server_without_them(tmp_path):
    with FaultServer() as server:
        stopped_half_way(server, tmp_path / "a.npy")
        server.put("/b.npy", DATA, [IgnoreRange()])
        assert get(server, tmp_path / "a.npy", name="b.npy").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_pieces_that_are_wrong_are_thrown_away_with_the_rest(tmp_path):
    with FaultServer() as server:
        stopped_half_way(server, tmp_path / "a.npy")
        piece = next(path for path in tmp_path.rglob("*.piece"))
        piece.write_bytes(bytes(piece.stat().st_size))
        assert get(server, tmp_path / "a.npy").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_the_tail_does_not_hang_on_one_slow_connection(tmp_path, monkeypatch):
    """One range comes at a few bytes a second; the others bring it instead."""
    monkeypatch.setattr(stream, "_STRAGGLER_SECONDS", 0.2)
    with FaultServer() as server:
        server.put("/a.npy", DATA, [SLOW, SLOW, SLOW + Drip(3, 0.1), SLOW])
        options = replace(EAGER, stall_seconds=3600, stall_bytes_per_second=1)
        assert get(server, tmp_path / "a.npy", options=options).read_bytes() == DATA


def test_a_signed_address_that_ran_out_is_asked_for_anew(tmp_path):
    with FaultServer() as server:
        server.put("/a.npy", DATA, [SLOW, SLOW, Status(403), SLOW])
        assert get(server, tmp_path / "a.npy", "kachery").read_bytes() == DATA
