"""Attacks from the network: what a hostile Alyx, file server, redirect or name server makes us ask, send or swallow.

docs/security.md has the table of all attacks.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import threading
import tracemalloc
from base64 import b64encode
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tasks.clients import DownloadError, WireOptions, client_for, reach, store
from tasks.clients.reach import Guard, as_address, names_this_machine
from tasks.clients.wire import Request
from tasks.model import Source
from tasks.plan.sources import on_this_machine
from tasks.tables.files import current
from tasks.transfer.limits import limits_of
from tests.loopback import Clock, Reply, answering, client_of, code_of, serve
from tests.pace import FakePace

DATA = b"\x93NUMPY" + b"registered bytes" * 100
MD5 = hashlib.md5(DATA).hexdigest()
OPTIONS = WireOptions(attempts=2, connect_seconds=2, stall_seconds=2)
LOGIN = {"HTTP_DATA_SERVER_LOGIN": "ana", "HTTP_DATA_SERVER_PWD": "anas-password"}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def moved(url, status=302):
    return answering(Reply(status, b"", {"Location": url}))


def fetch(url, tmp_path, *, options=OPTIONS, **params):
    client = client_for("http", {"name": "evil", "data_url": url}, params or None, options, pace=FakePace())
    return client.download_file(client.to_address("a.npy"), tmp_path / "a.npy", size=len(DATA), digest=MD5)


def sent(server):
    """Everything that reached a server, as text."""
    return json.dumps([[one.path, one.query, dict(one.headers), one.body] for one in server.asked])


# --- where requests may go ------------------------------------------------------------------------------------------

METADATA = ["http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://[fd00:ec2::254]/", "http://2852039166/",
            "http://0xa9fea9fe/", "http://[::ffff:169.254.169.254]/", "http://metadata.google.internal/", "http://100.100.100.200/",
            "http://instance-data/", "http://224.0.0.1/", "http://169.254.43518/"]  # fmt: skip


@pytest.mark.parametrize("url", METADATA)
def test_metadata_and_the_local_link_are_never_asked(url, tmp_path):
    assert code_of(lambda: fetch(url, tmp_path)) == "address-refused"


def test_what_the_lab_names_may_be_asked(monkeypatch):
    for allowed in (("169.254.169.254",), ("169.254.0.0/16",), ("fe80::/10", "169.254.169.0/24")):
        Guard("http://169.254.169.254/", allowed).check_name()
    guard = Guard("http://nas.lab/", ("nas.lab",))
    opened = guard.open(0, SimpleNamespace(family=socket.AF_INET, socktype=1, protocol=6, addr=("169.254.1.1", 80)))
    opened.close()
    assert guard.refused == ""
    for private in ("http://10.0.0.1/", "http://192.168.1.1/", "http://[fd12::1]/", "http://172.16.0.1/"):
        Guard(private).check_name()


def test_a_redirect_to_metadata_is_not_followed(tmp_path):
    with serve(moved("http://169.254.169.254/latest/meta-data/iam/")) as server:
        assert code_of(lambda: fetch(server.url, tmp_path)) == "address-refused"


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "0.0.0.0"])  # noqa: S104  (refused)
def test_a_name_that_leads_to_this_machine_is_refused(address):
    """DNS rebinding: what counts is the address that a connection is opened to, and not what was looked up before."""
    guard = Guard("http://files.evil.org/")
    guard.check_name()
    asked = SimpleNamespace(family=socket.AF_INET, socktype=1, protocol=6, addr=(address, 80))
    assert guard.open(0, asked) == -1
    assert "files.evil.org leads to" in guard.refused


def test_a_redirect_from_elsewhere_to_this_machine_is_refused(tmp_path, monkeypatch):
    """The same over libcurl, with a server that is taken for another machine's."""
    monkeypatch.setattr(reach, "names_this_machine", lambda _: False)
    reach._name_objection.cache_clear()
    options = replace(OPTIONS, allow_hosts=("127.0.0.0/8",))
    with serve(moved("http://[::1]:9/a.npy")) as server:
        assert code_of(lambda: fetch(server.url, tmp_path, options=options)) == "address-refused"
        assert code_of(lambda: fetch(server.url, tmp_path)) == "address-refused"
    assert len(server.asked) == 1
    reach._name_objection.cache_clear()


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.1", True), ("2130706433", True), ("0x7f.1", True), ("::1", True), ("localhost", True),
     ("a.localhost", True), ("0.0.0.0", True), ("10.0.0.1", False), ("localhost.evil.org", False), ("", False)],  # noqa: S104
)  # fmt: skip
def test_spellings_of_this_machine(host, local):
    assert names_this_machine(host) is local
    assert host != "2130706433" or str(as_address(host)) == "127.0.0.1"


def test_alyx_elsewhere_names_no_server_on_this_machine():
    records = {
        "here": {"data_url": "http://localhost:8080/admin"},
        "bucket": {"json": {"bucket_name": "b", "endpoint_url": "http://127.0.0.1:9000"}},
        "lab": {"data_url": "http://10.1.2.3/data", "json": None},
        "odd": {"data_url": "http://[::1", "json": "text"},
    }
    assert on_this_machine(records, "https://alyx.example.org") == {"here", "bucket"}
    assert on_this_machine(records, "https://alyx.example.org", ("localhost", "127.0.0.1")) == set()
    assert on_this_machine(records, "http://localhost:8000") == set()


# --- credentials ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_gets_no_password(status, tmp_path):
    with serve(answering(Reply(200, DATA))) as other, serve(moved(f"{other.url}/a.npy", status)) as server:
        fetch(server.url, tmp_path, **LOGIN)
        assert "Authorization" in server.asked[0].headers
        assert "Authorization" not in sent(other)
        assert "anas-password" not in sent(other) + b64encode(sent(other).encode()).decode()


def test_a_server_that_alyx_merely_names_gets_no_password(tmp_path):
    """The lab's login is for another server; this one asks for it, politely."""
    asks = answering(Reply(401, b"", {"WWW-Authenticate": 'Basic realm="the lab"'}))
    store.merge_profile("http", "default", {"HTTP_DATA_SERVER": "https://data.lab.org", **LOGIN})
    with serve(asks) as evil, pytest.raises(DownloadError) as refused:
        fetch(evil.url, tmp_path)
    assert "Authorization" not in sent(evil)
    assert "No login is known for 127.0.0.1" in refused.value.reason
    assert "only for data.lab.org" in refused.value.reason
    assert "anas-password" not in str(refused.value)


@pytest.mark.parametrize(
    "named", ["http://127.0.0.1:{port}@evil.org", "http://127.0.0.1:{port}.evil.org", "HTTP://127.0.0.1:1"]
)
def test_addresses_that_look_like_the_lab_s_server_are_another(named, tmp_path):
    with serve(answering(Reply(401, b""))) as server:
        port = server.url.rpartition(":")[2]
        store.merge_profile("http", "default", {"HTTP_DATA_SERVER": named.format(port=port), **LOGIN})
        with pytest.raises(DownloadError):
            fetch(server.url, tmp_path)
        assert "Authorization" not in sent(server)


def test_a_redirect_gets_no_session_token_of_s3(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMACHINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "machines-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "machines-session-token")
    with serve(answering(Reply(200, DATA))) as other, serve(moved(f"{other.url}/x")) as server:
        record = {"name": "s3", "json": {"bucket_name": "private-bucket"}, "globus_path": ""}
        client = client_for("aws", record, {"endpoint_url": server.url}, OPTIONS, pace=FakePace())
        assert code_of(lambda: client.download_file(client.to_address("a.npy"), tmp_path / "a.npy")) == "redirect"
        assert "machines-session-token" in sent(server)
        assert other.asked == []


def test_a_server_that_alyx_alone_names_is_shown_no_key_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMACHINE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "machines-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "machines-session-token")
    with serve(answering(Reply(403, b""))) as evil:
        named = {"bucket_name": "bucket", "endpoint_url": evil.url, "profile_name": "admin"}
        client = client_for("aws", {"name": "s3", "json": named}, {}, OPTIONS, pace=FakePace())
        with pytest.raises(DownloadError):
            client.download_file(client.to_address("a.npy"), tmp_path / "a.npy")
        assert "AKIAMACHINE" not in sent(evil)
        assert "machines-session-token" not in sent(evil)
        trusted = client_for("aws", {"name": "s3", "json": named}, {"endpoint_url": evil.url}, OPTIONS, pace=FakePace())
        assert trusted.has_credentials


@pytest.mark.parametrize("region", ["evil.org/", "x@evil.org", "us-east-1.evil.org#", "us-east-1\r\nHost: evil"])
def test_a_region_does_not_choose_the_host(region, tmp_path):
    record = {"name": "s3", "json": {"bucket_name": "bucket", "region_name": region}}

    def ask():
        client = client_for("aws", record, {}, OPTIONS, pace=FakePace())
        client.request(client.to_address("a.npy"))

    assert code_of(ask) in ("not-addressable", "bad-params")


def test_a_login_in_an_address_stays_out_of_the_names_of_limits():
    source = Source("http", "lab", "http://ana:anas-password@host:81/a.npy")
    assert limits_of([SimpleNamespace(sources=(source,))]) == ["alyx-repository-lab", "alyx-server-host-81"]


@pytest.mark.parametrize("root", ["http://[::1/", "http://a]b/", "http://\u2100.example.org/"])
def test_a_repository_whose_address_no_parser_takes_kills_no_batch(root, tmp_path):
    """What a batch asks of Prefect's limits comes from all its addresses, before the first of them is asked."""
    names = limits_of([SimpleNamespace(sources=(Source("http", "odd", f"{root}a.npy"),))])
    assert names[0] == "alyx-repository-odd"
    with pytest.raises(DownloadError):
        fetch(root, tmp_path)


@pytest.mark.parametrize("root", ["ftp://ana:anas-password@files.example.org/", "files.example.org/data/", "not a url"])
def test_a_data_url_that_is_no_web_address_is_none_before_anything_is_asked(root, tmp_path):
    with pytest.raises(DownloadError, match="odd is no web address") as caught:
        client_for("http", {"name": "odd", "data_url": root}, {}, OPTIONS).to_address("a.npy")
    assert caught.value.code == "not-addressable"
    assert "anas-password" not in str(caught.value)


@pytest.mark.parametrize("location", ["http://[::1", "//[", "http://\u2100/"])
def test_an_alyx_that_redirects_to_half_an_address_is_one_error(location):
    with serve(moved(location.encode().decode("latin-1"))) as server:
        assert code_of(lambda: client_of(server.url).rest("labs", "list")) == "alyx-redirect"


def test_tables_that_lie_at_half_an_address_are_one_error():
    info = {"date_created": "2026-11-22 07:02", "location": "http://[::1"}
    with serve(answering(Reply.of(info))) as server:
        assert code_of(lambda: current(client_of(server.url))) == "tables"


# --- what a request may hold --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [
        Request("http://127.0.0.1/a\r\nX: 1"), Request("http://127.0.0.1/ä"), Request("http://127.0.0.1/a\x00"),
        Request("http://127.0.0.1/", ("Authorization: Bearer a\r\nX-Evil: 1",)),
        Request("http://127.0.0.1/", ("A: \x80",)),
        Request("http://127.0.0.1/", user="a\nb", sign="aws:amz:us-east-1:s3"),
    ],
)  # fmt: skip
def test_no_header_is_smuggled_in(request_):
    client = client_for("http", {"data_url": "http://127.0.0.1/"}, None, OPTIONS, pace=FakePace())
    assert code_of(lambda: client.wire.knock(request_)) == "bad-request"


def test_a_name_with_line_breaks_is_one_request(tmp_path):
    with serve(answering(Reply(404, b""))) as server:
        client = client_for("http", {"data_url": f"{server.url}/a\r\nX-Evil: 1"}, None, OPTIONS, pace=FakePace())
        with pytest.raises(DownloadError):
            client.download_file(client.to_address("b.npy"), tmp_path / "b.npy")
        assert len(server.asked) == 1
        assert "X-Evil" not in server.asked[0].headers


def test_a_password_of_any_letters_is_sent_as_utf_8(tmp_path):
    with serve(answering(Reply(200, DATA))) as server:
        fetch(server.url, tmp_path, **{**LOGIN, "HTTP_DATA_SERVER_PWD": (word := "pässwörd\r\nX: 1")})
        (asked,) = server.asked
        assert asked.headers["Authorization"] == f"Basic {b64encode(f'ana:{word}'.encode()).decode()}"


def test_a_validator_is_not_repeated_where_it_is_no_word(tmp_path):
    """An ETag goes back to the server as If-Range; one that no header may hold must not end the run."""
    cut = Reply(200, DATA[:500], {"ETag": '"\xe9t\xe9"'}, length=len(DATA))
    rest = Reply(206, DATA[500:], {"Content-Range": f"bytes 500-{len(DATA) - 1}/{len(DATA)}", "ETag": '"\xe9t\xe9"'})
    with serve(answering(cut, rest)) as server:
        assert fetch(server.url, tmp_path).read_bytes() == DATA
        assert "If-Range" not in server.asked[-1].headers


# --- answers that are too much ------------------------------------------------------------------------------------


def test_a_compression_bomb_in_a_file_s_body_costs_little_memory(tmp_path):
    bomb = gzip.compress(bytes(100 << 20), 9)
    with serve(answering(Reply(200, bomb, {"Content-Encoding": "gzip"}))) as server:
        tracemalloc.start()
        try:
            assert code_of(lambda: fetch(server.url, tmp_path)) == "size-mismatch"
            assert tracemalloc.get_traced_memory()[1] < 20 << 20
        finally:
            tracemalloc.stop()


def test_a_compressed_body_that_ends_too_soon_is_asked_for_again(tmp_path):
    """Its length is what the server says: only the compression tells that there is more, where Alyx has no digest."""
    body = gzip.compress(DATA)
    answers = [Reply(200, some, {"Content-Encoding": "gzip"}) for some in (body[:-9], body)]
    with serve(answering(*answers)) as server:
        client = client_for("http", {"name": "r", "data_url": server.url}, None, OPTIONS, pace=FakePace())
        assert client.download_file(client.to_address("a.npy"), tmp_path / "a.npy").read_bytes() == DATA
        assert len(server.asked) == 2


def test_a_body_of_several_compressed_streams_is_read_to_its_end(tmp_path):
    body = gzip.compress(DATA[:700]) + gzip.compress(DATA[700:])
    with serve(answering(Reply(200, body, {"Content-Encoding": "gzip"}))) as server:
        client = client_for("http", {"name": "r", "data_url": server.url}, None, OPTIONS, pace=FakePace())
        assert client.download_file(client.to_address("a.npy"), tmp_path / "a.npy").read_bytes() == DATA


def test_a_compression_bomb_in_alyx_s_answer_ends_at_the_limit():
    bomb = gzip.compress(b"[" + b" " * (80 << 20), 9)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    with serve(answering(Reply(200, bomb, headers))) as server:
        assert code_of(lambda: client_of(server.url).rest("labs", "list")) == "alyx-too-large"


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"a":' * 200_000, b"[" + b"9" * 10_000 + b"]", b'"\\ud800"', b"\xff\xfe"]
)
@pytest.mark.parametrize("status", [200, 400, 403, 500])
def test_json_that_is_nested_without_end_is_one_error(body, status):
    with serve(answering(Reply(status, body, {"Content-Type": "application/json"}))) as server:
        code = code_of(lambda: client_of(server.url).rest("labs", "list"))
        assert code.startswith("alyx-")


@pytest.mark.parametrize("count", [10**30, -1, True, "5", 1e3, None])
def test_an_unbelievable_count_is_refused(count):
    with serve(answering(Reply.of({"count": count, "next": None, "results": [{"id": "1"}]}))) as server:
        assert code_of(lambda: client_of(server.url).rest("labs", "list")) == "alyx-url"
    assert len(server.asked) == 1


def test_a_list_that_never_ends_is_given_up():
    clock = Clock()
    with serve(answering(Reply.of({"count": 10**9, "next": None, "results": [{"id": "1"}]}))) as server:
        assert code_of(lambda: client_of(server.url, clock=clock).rest("labs", "list")) == "alyx-incomplete"
    assert len(server.asked) < 10


def test_a_poisoned_next_link_is_not_followed():
    with serve(answering(Reply.of({}))) as evil:
        page = {"count": 2, "next": f"{evil.url}/steal", "results": [{"id": "1"}]}
        rest = {**page, "results": [{"id": "2"}]}
        with serve(answering(Reply.of(page), Reply.of(rest))) as server:
            assert [row["id"] for row in client_of(server.url).rest("labs", "list")] == ["1", "2"]
            assert all(one.path == "/labs" for one in server.asked)
        assert evil.asked == []


def test_s3_s_errors_are_searched_and_not_parsed(tmp_path):
    """Billion laughs, an external entity, and a document without end: four kilobytes are looked at."""
    laughs = b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><Error><Code>&b;</Code></Error>'
    entity = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Error><Code>&e;</Code></Error>'
    for body in (laughs, entity, b"<Error><Code>" + b"A" * (8 << 20), b"<Error>" * 100_000):
        with (
            serve(answering(Reply(404, body, {"Content-Type": "application/xml"}))) as server,
            pytest.raises(DownloadError) as e,
        ):
            fetch(server.url, tmp_path)
        assert e.value.code == "not-found"
        assert "root:" not in e.value.reason
        assert len(e.value.reason) < 500


@pytest.mark.parametrize(
    "headers", [{f"X-{number}": "y" for number in range(3000)}, {"X-Long": "y" * 400_000}], ids=["many", "long"]
)
def test_headers_without_end_are_refused(headers, tmp_path):
    with serve(answering(Reply(200, DATA, headers))) as server:
        assert code_of(lambda: fetch(server.url, tmp_path)) in ("protocol", "connection-lost")


@pytest.mark.parametrize("status", ["\xb2\xb2\xb2", "200\x1d", "000\x1d", "200\xa0", "2000", ""])
def test_a_status_that_is_no_number_is_one_error(status, tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peer.recv(65536)
            peer.sendall(f"HTTP/1.1 {status} Evil\r\n\r\nbytes".encode("latin-1"))
            peer.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        code = code_of(lambda: fetch(f"http://127.0.0.1:{listener.getsockname()[1]}", tmp_path))
        assert code in ("protocol", "connection-lost")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("protocol", ["http", "aws", "globus"])
def test_half_a_character_in_a_repository_is_no_address(protocol):
    """JSON may hold one half of a character; no URL can."""
    record = {"name": "odd", "data_url": "http://h/\ud800", "globus_path": "\ud800", "json": {"bucket_name": "public"},
              "globus_endpoint_id": "0b6f5a7c-a7a9-11e8-96fa-0a6d4e044368"}  # fmt: skip
    assert code_of(lambda: client_for(protocol, record, {}).to_address("a/b.npy")) == "not-addressable"
