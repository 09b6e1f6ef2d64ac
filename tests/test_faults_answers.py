"""Each answer of a script happens exactly as described, byte for byte, over real sockets."""

import gzip
import http.client
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from io import BytesIO

import pycurl
import pytest
import requests
from faults_client import DATA, HALF, REST, SIZE, get, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.sandbox.faults import (
    Chunked,
    Cut,
    Drip,
    Drop,
    FaultServer,
    Flip,
    Garbage,
    Good,
    Gzip,
    HangUp,
    Header,
    Html,
    IgnoreConditions,
    IgnoreRange,
    Login,
    Moved,
    NoHead,
    NoLength,
    Other,
    Redirect,
    Silent,
    Sized,
    Stall,
    Status,
    TooLong,
    Validators,
    WrongBody,
    WrongRange,
)


@pytest.fixture
def server():
    with FaultServer() as running:
        yield running


# --- the connection ---------------------------------------------------------------------------------


@settings(deadline=None, max_examples=15)
@given(st.sampled_from([0, 1, 65535, 65536, 65537, SIZE - 1, SIZE]) | st.integers(0, SIZE))
def test_reset_and_cut_at_exactly_that_byte(byte):
    with FaultServer() as server:
        for answer, end in ((Drop(byte), "reset"), (Cut(byte), "closed")):
            met = talk(server.put("/a", DATA, [answer]))
            assert (len(met.body), met.end) == (byte, end)
        assert met.body == DATA[:byte]
        assert server.sent() == 2 * byte


def test_places():
    with FaultServer() as server:
        for place, sent in ((0.5, HALF), (1.0, SIZE), (-1, SIZE - 1), (3, 3)):
            assert len(talk(server.put("/a", DATA, [Cut(place)])).body) == sent
        odd = server.put("/odd", b"12345", [Cut(0.25)])
        assert [talk(odd, Range=f"bytes={start}-").body for start in (0, 2, 4)] == [b"12", b"34", b"5"]


def test_pycurl_meets_the_drop_and_resumes(server):
    curl, body = pycurl.Curl(), BytesIO()
    curl.setopt(pycurl.URL, server.put("/a", DATA, [Drop(0.5), Good()]))
    curl.setopt(pycurl.WRITEDATA, body)
    with pytest.raises(pycurl.error) as lost:
        curl.perform()
    assert lost.value.args[0] == pycurl.E_RECV_ERROR
    assert body.getvalue() == DATA[:HALF]
    curl.setopt(pycurl.RESUME_FROM, HALF)
    curl.perform()
    assert body.getvalue() == DATA
    assert server.sent() == SIZE


@pytest.mark.parametrize(("answer", "body"), [(Stall(0.5), DATA[:HALF]), (Stall(0), b""), (Silent(), b"")])
def test_stalls_until_released(server, answer, body):
    url = server.put("/a", DATA, [answer])
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(talk, url)
        assert server.stalling.wait(30)
        assert not waiting.done()
        server.release()
        met = waiting.result(30)
    assert (met.body, met.end) == (body, "closed")
    assert bool(met.head) is not isinstance(answer, Silent)


def test_close_ends_stalls():
    with FaultServer() as server, ThreadPoolExecutor() as pool:
        waiting = pool.submit(talk, server.put("/a", DATA, [Stall(1)]))
        assert server.stalling.wait(30)
        server.close()
        assert waiting.result(30).body == DATA[:1]


def test_drips_in_the_servers_own_time():
    pauses = []

    def wait(seconds):
        pauses.append(seconds)
        return len(pauses) == 3

    with FaultServer(wait=wait) as server:
        met = talk(server.put("/a", DATA, [Drip(piece=2, pause=0.7)]))
    assert (met.body, pauses) == (DATA[:6], [0.7] * 3)


def test_release_ends_drips(server):
    url = server.put("/a", DATA, [Drip(pause=1e6)])
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(talk, url)
        assert server.stalling.wait(30)
        server.release()
        assert waiting.result(30).body == DATA[:3]


def test_keep_alive_kept_and_broken(server):
    server.put("/good", DATA)
    server.put("/hang-up", DATA, [HangUp()])
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for path in ("/good", "/hang-up"):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.read() == DATA
        assert not answer.will_close
    assert server.connections == 1
    connection.auto_open = 0
    with pytest.raises((ConnectionError, http.client.NotConnected)):
        ask_twice(connection)


def ask_twice(connection):
    """The first request on a connection that the server has left may still be sent, but it is not answered."""
    connection.request("GET", "/good")
    connection.getresponse()


@pytest.mark.parametrize("data", [b"", Garbage().data])
def test_garbage(server, data):
    url = server.put("/a", DATA, [Garbage(data), Good()])
    assert talk(url).head == data
    assert get(url).body == DATA


def test_header_of_a_megabyte(server):
    assert len(talk(server.put("/a", DATA, [Header("X-Fill", "x" * (1 << 20)) + HangUp()])).head) > 1 << 20


# --- other answers ----------------------------------------------------------------------------------


def test_retry_after_in_all_its_forms():
    now = 1_800_000_000.0
    with FaultServer(now=lambda: now) as server:
        for answer, sent in (
            (Status(503, retry_after="1"), "1"),
            (Status(429, retry_after="1000000000"), "1000000000"),
            (Status(503, retry_in=2.0), formatdate(now + 2, usegmt=True)),
            (Status(503, retry_in=-60.0), formatdate(now - 60, usegmt=True)),
            (Status(503), None),
        ):
            assert get(server.put("/a", DATA, [answer])).headers.get("Retry-After") == sent


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream"])
def test_html_with_200(server, content_type):
    for page, length in ((Html(content_type), None), (Html(content_type, padded=True), SIZE)):
        answer = get(server.put("/a", DATA, [page]))
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)
        assert answer.body.startswith(b"<!DOCTYPE html>")
        assert len(answer.body) == int(answer.headers["Content-Length"]) == (length or len(answer.body))


def test_redirects(server):
    with pytest.raises(requests.TooManyRedirects):
        requests.get(server.put("/loop", DATA, [Redirect("?again")]), timeout=30)
    assert requests.get(server.put("/login", DATA, [Login()]), timeout=30).text.startswith("<!DOCTYPE html>")


def test_redirect_to_another_host_records_what_follows(server):
    url = server.put("/a", DATA, [Moved()])
    assert requests.get(url, auth=("user", "secret"), timeout=30).content == DATA
    first, second = server.hits("/a")
    assert first.headers["Authorization"]
    assert "Authorization" not in second.headers
    assert second.headers["Host"] == f"localhost:{server.port}"


def test_head_not_allowed(server):
    url = server.put("/a", DATA, [NoHead()])
    assert (get(url, "HEAD").status_code, get(url).body) == (405, DATA)


# --- other objects ----------------------------------------------------------------------------------


def test_flips_one_bit(server):
    url = server.put("/a", DATA, [Flip(0.5), Good()])
    flipped, good = get(url), get(url)
    assert (int.from_bytes(flipped.body) ^ int.from_bytes(DATA)).bit_count() == 1
    assert flipped.body[HALF] != DATA[HALF]
    assert (flipped.headers["ETag"], good.body) == (good.headers["ETag"], DATA)


@pytest.mark.parametrize(("place", "size"), [(0.5, HALF), (1.5, SIZE + HALF), (0, 0), (-1, SIZE - 1)])
def test_another_size_with_headers_that_agree(server, place, size):
    answer = get(server.put("/a", DATA, [Sized(place)]))
    assert len(answer.body) == int(answer.headers["Content-Length"]) == size


def test_replaced_between_two_attempts(server):
    url = server.put("/a", DATA, [Other() + Cut(0.5), Good()])
    etag = dict(line.split(": ") for line in talk(url).head.decode().splitlines()[1:])["ETag"]
    assert get(url, **REST, **{"If-Range": etag}).body == DATA
    server.put("/a", DATA, [IgnoreConditions()])
    spliced = get(url, **REST, **{"If-Range": etag})
    assert (spliced.status_code, spliced.body) == (206, DATA[HALF:])
    assert spliced.headers["ETag"] != etag


def test_validators(server):
    weak = get(server.put("/a", DATA, [Validators('W/"1"')])).headers
    assert (weak["ETag"], "Last-Modified" in weak) == ('W/"1"', False)
    assert "ETag" not in get(server.put("/a", DATA, [Validators(modified="Wed, 21 Oct 2015 07:28:00 GMT")])).headers


# --- ranges and framing -----------------------------------------------------------------------------


def test_ranges_gone_wrong(server):
    ignored = get(server.put("/a", DATA, [IgnoreRange()]), **REST)
    assert (ignored.status_code, ignored.body) == (200, DATA)
    beside = get(server.put("/a", DATA, [WrongRange()]), **REST)
    assert (beside.status_code, beside.body) == (206, DATA[HALF + 1 :])
    assert beside.headers["Content-Range"] == f"bytes {HALF + 1}-{SIZE - 1}/{SIZE}"
    wrong = get(server.put("/a", DATA, [WrongBody()]), **REST)
    assert (wrong.headers["Content-Range"], wrong.body) == (f"bytes {HALF}-{SIZE - 1}/{SIZE}", DATA[:HALF])
    nameless = get(server.put("/a", DATA, [Header("Content-Range", None)]), **REST)
    assert (nameless.status_code, "Content-Range" in nameless.headers) == (206, False)


def test_chunked_and_cut(server):
    url = server.put("/a", DATA, [Chunked(), Chunked() + Cut(0.5)])
    whole = requests.get(url, timeout=30)
    assert (whole.content, whole.headers["Transfer-Encoding"], "Content-Length" in whole.headers) == (
        DATA,
        "chunked",
        False,
    )
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(url, timeout=30)
    assert server.sent() == SIZE + HALF


def test_no_content_length(server):
    met = talk(server.put("/a", DATA, [NoLength()]))
    assert (met.body, met.end, b"Content-Length" in met.head) == (DATA, "closed", False)


def test_longer_than_announced(server):
    met = talk(server.put("/a", DATA, [TooLong(9) + HangUp()]))
    assert f"Content-Length: {SIZE}".encode() in met.head
    assert met.body == DATA + bytes(9)


def test_gzip(server):
    answer = get(server.put("/a", DATA, [Gzip()]), **REST)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.body) == DATA[HALF:]
