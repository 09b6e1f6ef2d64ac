"""Redirects, certificates and proxies on the way to Alyx."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from tasks.clients.verdicts import DownloadError
from tests.loopback import PASSWORD, Asked, Reply, answering, client_of, code_of, guarded, serve

if TYPE_CHECKING:
    from pathlib import Path


def moved(location: str, status: int = 301) -> Reply:
    return Reply(status, b"", {"Location": location})


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_http_becomes_https_and_a_post_stays_a_post(status: int, tls: ssl.SSLContext) -> None:
    with serve(guarded, tls) as secure, serve(lambda asked: moved(secure.url + asked.path, status)) as plain:
        client = client_of(plain.url, user="alice", password=PASSWORD)
        client.rest("labs", "read", id="a")
        client.rest("labs", "read", id="b")
        assert client.url == secure.url
    assert plain.paths == ["POST /auth-token"]
    assert secure.paths == ["POST /auth-token", "GET /labs/a", "GET /labs/b"]


def test_a_slash_is_added_where_alyx_wants_one() -> None:
    def app(asked: Asked) -> Reply:
        return Reply.of(asked.query) if asked.path.endswith("/") else moved(f"{asked.path}/?a=1%202")

    with serve(app) as server:
        assert client_of(server.url).request("GET", "/cache/info", query={"a": "1 2"}) == {"a": "1 2"}


def test_another_host_is_never_followed() -> None:
    with serve(answering(Reply.of({}))) as other, serve(answering(moved(other.url))) as server:
        assert code_of(lambda: client_of(server.url).request("GET", "/labs")) == "alyx-redirect"
        assert other.asked == []


def test_https_does_not_become_http(tls: ssl.SSLContext) -> None:
    with serve(answering(Reply.of({}))) as plain, serve(answering(moved(plain.url)), tls) as server:
        assert code_of(lambda: client_of(server.url).request("GET", "/labs")) == "alyx-redirect"
        assert plain.asked == []


def test_a_circle_ends() -> None:
    with serve(answering(moved("/labs"))) as server:
        assert code_of(lambda: client_of(server.url).request("GET", "/labs")) == "alyx-redirect"
    assert len(server.asked) < 10


def test_an_untrusted_certificate_says_so(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    with serve(answering(Reply.of({})), tls) as server:
        assert code_of(lambda: client_of(server.url).request("GET", "/labs")) == "alyx-certificate"


def test_a_missing_bundle_says_so(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent/ca.pem")
    with serve(answering(Reply.of({})), tls) as server, pytest.raises(DownloadError, match="nonexistent"):
        client_of(server.url).request("GET", "/labs")


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(lambda asked: Reply.of({"host": asked.headers["Host"]})) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert client_of("http://alyx.invalid").request("GET", "/labs/a") == {"host": "alyx.invalid"}
        monkeypatch.setenv("NO_PROXY", "alyx.invalid")
        assert code_of(lambda: client_of("http://alyx.invalid").request("GET", "/labs/a")) == "alyx-unreachable"
