"""The fault server as a whole: honest answers in both dialects, counters, doors, TLS, gates."""

import errno
import http.client
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from types import SimpleNamespace

import boto3
import pycurl
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError
from faults_client import DATA, HALF, REST, SIZE, get, talk

from deployments.sandbox.faults import (
    BUCKET,
    AtMost,
    Cut,
    Door,
    Drop,
    Expire,
    FaultServer,
    Good,
    NoLength,
    Status,
    Tls,
)


@pytest.fixture
def server():
    with FaultServer() as running:
        yield running


# --- the honest server ------------------------------------------------------------------------------


def test_honest_answers(server):
    url = server.put("/lab one/a#b.npy", DATA)
    assert url.endswith("/lab%20one/a%23b.npy")
    assert get(url).body == DATA
    part = get(url, Range="bytes=10-19")
    assert (part.status_code, part.body) == (206, DATA[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{SIZE}"
    assert get(url, Range="bytes=-5").body == DATA[-5:]
    assert get(url, Range="bytes=0-4,8-9").status_code == 200
    beyond = get(url, Range=f"bytes={SIZE}-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert get(url + "x").status_code == 404


def test_honest_conditions(server):
    url = server.put("/a", DATA)
    etag, date = (get(url).headers[name] for name in ("ETag", "Last-Modified"))
    for validator, status in ((etag, 206), (date, 206), ('"old"', 200), ("W/" + etag, 200)):
        assert get(url, **REST, **{"If-Range": validator}).status_code == status
    assert get(url, **{"If-Match": etag}).status_code == 200
    assert get(url, **{"If-Match": '"old"'}).status_code == 412


def test_s3_reads_the_same_object(server):
    server.put("/s/a.npy", DATA, [Status(503, retry_after="1"), Good()])
    s3 = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    with pytest.raises(ClientError) as slow:
        s3.get_object(Bucket=BUCKET, Key="s/a.npy")
    assert slow.value.response["Error"]["Code"] == "SlowDown"
    assert s3.get_object(Bucket=BUCKET, Key="s/a.npy")["Body"].read() == DATA
    signed = s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "s/a.npy"})
    assert signed.startswith(server.s3_url("/s/a.npy"))
    assert get(signed).body == DATA
    assert all(hit.s3 for hit in server.hits("/s/a.npy"))
    assert "key" in server.hits()[-1].credentials


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Status(503), 503, "SlowDown"),
        (Status(500), 500, "InternalError"),
        (Status(404), 404, "NoSuchKey"),
        (Status(403), 403, "AccessDenied"),
        (Status(400, "ExpiredToken"), 400, "ExpiredToken"),
        (Status(403, "RequestTimeTooSkewed"), 403, "RequestTimeTooSkewed"),
        (Status(403, "SignatureDoesNotMatch"), 403, "SignatureDoesNotMatch"),
        (Status(401), 401, "AccessDenied"),
        (Status(416), 416, "InvalidRange"),
    ],
)
def test_errors_in_both_dialects(server, answer, status, code):
    plain, s3 = get(server.put("/a", DATA, [answer])), get(server.s3_url("/a"))
    assert (plain.status_code, s3.status_code) == (status, status)
    assert plain.headers["Content-Type"] == "text/html"
    assert f"<Code>{code}</Code>" in s3.body.decode()


def test_counts(server):
    url = server.put("/a", DATA)
    with requests.Session() as session:
        session.get(url, headers={**REST, "Authorization": "Basic eDp5"}, timeout=30)
        session.head(url, timeout=30)
    first, second = server.hits("a")
    assert (first.method, second.method, first.status, first.sent, second.sent) == ("GET", "HEAD", 206, HALF, 0)
    assert (first.headers["range"], first.headers["authorization"]) == (REST["Range"], "Basic eDp5")
    assert first.at <= second.at
    assert server.connections == first.connection == second.connection == 1
    assert (server.sent(), server.sent("/b"), server.hits(method="HEAD")) == (HALF, 0, [second])


def test_scripts_advance_with_get_repeat_and_rewind(server):
    url = server.put("/a", b"x", [Status(500), Status(404)])
    assert [get(url, method).status_code for method in ("HEAD", "GET", "GET", "GET")] == [500, 500, 404, 404]
    server.rewind()
    assert get(url).status_code == 500
    server.put("/a", b"y")
    assert get(url).body == b"y"


# --- doors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("door", "ends"), [(Door.RESET, {"reset"}), (Door.CUT, {"closed", "reset"})])
def test_doors(server, door, ends):
    server.doors = [door, Door.OPEN]
    url = server.put("/a", DATA)
    try:
        met = talk(url)
    except (ConnectionResetError, BrokenPipeError):  # the reset was there before the request
        met = SimpleNamespace(head=b"", end="reset")
    assert not met.head
    assert met.end in ends
    assert not server.hits()
    assert get(url).body == DATA
    assert server.connections == 2


def test_accepted_then_nothing(server):
    server.doors = [Door.SILENT]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(talk, server.put("/a", DATA))
        assert server.stalling.wait(30)
        server.release()
        assert waiting.result(30).head == b""
    assert not server.hits()


def test_refused_then_open(server):
    url = server.put("/a", DATA)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/a")
    assert connection.getresponse().read() == DATA
    server.shut()
    assert connection.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=30)
    server.open()
    assert get(url).body == DATA
    assert server.connections == 2


# --- TLS --------------------------------------------------------------------------------------------


def test_tls_trusted_cut_and_in_order():
    with FaultServer(tls=Tls.TRUSTED) as server:
        context = ssl.create_default_context(cafile=server.ca_file)
        url = server.put("/a", DATA, [Good(), NoLength(), NoLength() + Cut(0.5)])
        assert requests.get(url, verify=str(server.ca_file), timeout=30).content == DATA
        met = [talk(url, context) for _ in range(2)]
        assert [(len(each.body), each.end) for each in met] == [(SIZE, "closed"), (HALF, "cut")]


def test_tls_reset():
    with FaultServer(tls=Tls.TRUSTED) as server:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, server.put("/a", DATA, [Drop(0.5)]))
        curl.setopt(pycurl.CAINFO, str(server.ca_file))
        curl.setopt(pycurl.WRITEDATA, body := BytesIO())
        with pytest.raises(pycurl.error):
            curl.perform()
        assert (body.getvalue(), curl.getinfo(pycurl.OS_ERRNO)) == (DATA[:HALF], errno.ECONNRESET)


def test_tls_cut_and_silent_in_the_handshake():
    with FaultServer(tls=Tls.TRUSTED) as server, ThreadPoolExecutor() as pool:
        server.doors = [Door.CUT, Door.SILENT]
        url, context = server.put("/a", DATA), ssl.create_default_context(cafile=server.ca_file)
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            talk(url, context)
        waiting = pool.submit(talk, url, context)
        assert server.stalling.wait(30)
        server.release()
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            waiting.result(30)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Tls.UNTRUSTED, "local issuer certificate"),
        (Tls.EXPIRED, "expired"),
        (Tls.OTHER_HOST, "not valid for '127.0.0.1'"),
    ],
)
def test_tls_certificates_that_cannot_be_trusted(kind, reason):
    with FaultServer(tls=kind) as server:
        context = ssl.create_default_context(cafile=server.ca_file)
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            talk(server.put("/a", DATA), context)
        assert not server.hits()


# --- gates ------------------------------------------------------------------------------------------


def test_at_most_so_many_a_window():
    clock = iter([0.0, 0.1, 0.2, 0.9, 1.05, 1.06])
    with FaultServer(clock=lambda: next(clock)) as server:
        server.gate = AtMost(2, 1.0)
        url = server.put("/a", b"x")
        assert [get(url).status_code for _ in range(6)] == [200, 200, 429, 429, 200, 429]
        assert [hit.at for hit in server.hits() if hit.held] == [0.2, 0.9, 1.06]
        assert server.sent("/a") > 2


def test_storm_from_many_connections():
    with FaultServer(clock=lambda: 0.0) as server, ThreadPoolExecutor(32) as pool:
        server.gate = AtMost(5, 1.0)
        url = server.put("/a", b"x")
        answers = list(pool.map(lambda _: get(url), range(32)))
        assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 27
        assert {answer.headers.get("Retry-After") for answer in answers} == {None, "1"}
        assert server.connections == len(server.hits()) == 32


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"Authorization": "Bearer old"}, {"Authorization": "Bearer new"}),
        ({"X-Amz-Security-Token": "old"}, {"X-Amz-Security-Token": "new"}),
    ],
)
def test_credentials_expire_and_new_ones_are_good(server, old, new):
    server.gate = Expire(2)
    url = server.put("/a", b"x")
    assert [get(url, **headers).status_code for headers in (old, old, old, new)] == [200, 200, 403, 200]
