"""The catalogue of faults: its matrix, each fault once, and all of them by hand."""

import ssl
import subprocess
import sys

import pytest
from faults_client import DATA, get, talk

from deployments.sandbox.faults import CATALOGUE, MATRIX, Expect, FaultServer


def test_matrix_has_the_eleven_rows_of_its_table():
    assert list(MATRIX) == [
        "none",
        "drop at 50 %, once",
        "drops after every ¼ (only resume can finish)",
        "drop, then Range ignored (200)",
        "server sends half with matching Content-Length",
        "bit flipped once, then good",
        "bit flipped always",
        "200 + HTML error page",
        "503 ×2 with Retry-After",  # noqa: RUF001  (the table's own name)
        "404",
        "stall at 50 %",
    ]
    assert MATRIX.items() <= CATALOGUE.items()


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_fault_can_be_met(name):
    """With stalls released, every fault is met and ended; what can only end in an error never gives the right bytes."""
    fault, data = CATALOGUE[name], DATA[:4096]
    with FaultServer(tls=fault.tls) as server:
        server.release()
        for address in (server.url, server.s3_url):
            server.play(fault, "/a", data)
            body = meet(address("/a"), server.ca_file)
            assert body != data or fault.expect is not Expect.ERROR or fault.gate
        assert server.sent("/a") <= 2 * 2 * len(data)


def meet(url, ca_file):
    context = ssl.create_default_context(cafile=ca_file) if ca_file else None
    try:
        return talk(url, context, Connection="close").body
    except (ConnectionError, ssl.SSLError):
        return b""


@pytest.fixture
def by_hand():
    command = [sys.executable, "-m", "deployments.sandbox.faults", "--size", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield process
        process.kill()


def test_every_fault_by_hand(by_hand):
    served = [name for name, fault in CATALOGUE.items() if not fault.needs]
    rows = [by_hand.stdout.readline().rstrip("\n").split("\t") for _ in served]
    assert [row[0] for row in rows] == served
    assert len({row[1] for row in rows}) == len(rows)
    drop = rows[1][1]
    server = drop.rpartition("/")[0]
    assert len(talk(drop).body) == 500
    assert get(f"{server}/rewind").status_code == 200
    assert len(talk(drop).body) == 500
    assert "/drop-at-50-once.bin\t2\t1000" in get(f"{server}/counts").body.decode()
    by_hand.terminate()
    assert by_hand.wait(30) == 0
