"""The client against a server that misbehaves: logins, retries, redirects, limits, secrets."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from tasks.alyx import AlyxClient, lookup_repository, without_secrets
from tasks.clients.base import DownloadClient
from tasks.clients.verdicts import DownloadError, Verdict
from tasks.credentials import Credentials
from tasks.exchange import Limits
from tasks.throttle import Throttle
from tests.loopback import Asked, Clock, Reply, client_of, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PASSWORD, OLD, NEW = "correct horse", "0" * 40, "1" * 40
INVALID = Reply.of({"detail": "Invalid token.", "status_code": 403}, 403)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def answering(*replies: Reply) -> Callable[[Asked], Reply]:
    """Each reply once, the last one for ever."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def guarded(asked: Asked) -> Reply:
    """An Alyx that takes one password and one token."""
    if asked.path == "/auth-token":
        good = asked.body == "username=alice&password=correct+horse"
        return Reply.of({"token": NEW}) if good else Reply.of({"non_field_errors": ["Unable to log in"]}, 400)
    return Reply.of({"name": asked.path}) if asked.headers.get("Authorization") == f"Token {NEW}" else INVALID


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(DownloadError) as caught:
        call()
    assert caught.value.next_step
    return caught.value.code


# --- logins -------------------------------------------------------------------------------------------


def test_a_password_is_asked_for_a_token_once() -> None:
    with serve(guarded) as server:
        client = client_of(server.url, user="alice", password=PASSWORD)
        client.rest("labs", "read", id="a")
        client.rest("labs", "read", id="b")
    assert server.paths == ["POST /auth-token", "GET /labs/a", "GET /labs/b"]


def test_an_invalid_token_is_renewed_once_for_all_threads() -> None:
    with serve(guarded) as server:
        client = client_of(server.url, user="alice", password=PASSWORD, token=OLD)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda name: client.rest("labs", "read", id=name), "abcdefgh"))
    assert [row["name"] for row in found] == [f"/labs/{name}" for name in "abcdefgh"]
    assert server.paths.count("POST /auth-token") == 1


def test_an_invalid_token_without_a_password_is_an_error() -> None:
    with serve(guarded) as server:
        assert code_of(lambda: client_of(server.url, token=OLD).rest("labs", "read", id="a")) == "alyx-token"
    assert len(server.asked) == 1


def test_a_new_token_that_is_refused_too_ends_it() -> None:
    def app(asked: Asked) -> Reply:
        return Reply.of({"token": NEW}) if asked.path == "/auth-token" else INVALID

    with serve(app) as server:
        client = client_of(server.url, user="alice", password=PASSWORD, token=OLD)
        assert code_of(lambda: client.rest("labs", "read", id="a")) == "alyx-token"
    assert server.paths == ["GET /labs/a", "POST /auth-token", "GET /labs/a"]


def test_a_wrong_password_is_one_clear_error() -> None:
    with serve(guarded) as server:
        assert code_of(lambda: client_of(server.url, user="alice", password="no").rest("labs", "list")) == "alyx-login"
    assert server.paths == ["POST /auth-token"]


def test_a_new_token_goes_where_the_old_one_was() -> None:
    kept: list[str] = []
    with serve(guarded) as server:
        client_of(server.url, user="alice", password=PASSWORD, token=OLD, keep=kept.append).rest("labs", "read", id="a")
    assert kept == [NEW]


def test_a_token_that_cannot_be_stored_is_used_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    with serve(guarded) as server:
        client = client_of(server.url, user="alice", password=PASSWORD, token=OLD, keep=full)
        assert client.rest("labs", "read", id="a") == {"name": "/labs/a"}
    assert "No space left" in caplog.text


def test_what_has_no_login_is_not_alyx() -> None:
    with serve(answering(Reply.page(404, "Not Found"))) as server:
        client = client_of(server.url, user="alice", password=PASSWORD)
        assert code_of(client.login) == "alyx-url"
    with serve(answering(Reply.of({"welcome": 1}))) as server:
        assert code_of(client_of(server.url, user="alice", password=PASSWORD).login) == "alyx-url"


def test_netrc_does_not_replace_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login eve password sesame")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serve(guarded) as server:
        client = client_of(server.url, user="alice", password=PASSWORD)
        client.rest("labs", "read", id="a")
    assert [one.headers.get("Authorization") for one in server.asked] == [None, f"Token {NEW}"]


def test_cookies_are_not_kept() -> None:
    with serve(answering(Reply.of({}, Set_Cookie="sessionid=1; Path=/"))) as server:
        client = client_of(server.url)
        client.request("GET", "/labs/a")
        client.request("GET", "/labs/b")
    assert "Cookie" not in server.asked[1].headers


def test_a_login_is_never_used_for_another_server() -> None:
    login = Credentials("https://alyx.example.org", token=NEW)
    assert code_of(lambda: AlyxClient("https://other.example.org", credentials=login)) == "alyx-url"


# --- retries ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_web_servers_failure_is_tried_again(status: int) -> None:
    with serve(answering(Reply.page(status, "Oops"), Reply.page(status, "Oops"), Reply.of([]))) as server:
        assert client_of(server.url).rest("labs", "list") == []
    assert len(server.asked) == 3


def test_a_permanent_500_is_not_tried_again() -> None:
    with serve(answering(Reply.of({"status_code": 500, "detail": "boom"}, 500))) as server:
        assert code_of(lambda: client_of(server.url).rest("labs", "list")) == "alyx-error"
    assert len(server.asked) == 1


def test_a_failure_that_stays_ends_after_the_attempts() -> None:
    clock = Clock()
    with serve(answering(Reply.page(502, "Bad Gateway"))) as server:
        assert code_of(lambda: client_of(server.url, clock=clock).rest("labs", "list")) == "alyx-failed"
    assert len(server.asked) == Limits().attempts
    assert clock.waits == [1.0, 2.0, 4.0]


def test_a_throttle_is_obeyed() -> None:
    clock = Clock()
    with serve(answering(Reply.of({"detail": "throttled"}, 429, Retry_After="40"), Reply.of([]))) as server:
        assert client_of(server.url, clock=clock).rest("labs", "list") == []
    assert sum(clock.waits) >= 40


def test_a_wait_beyond_the_limit_is_an_error_at_once() -> None:
    clock = Clock()
    with serve(answering(Reply.of({"detail": "throttled"}, 429, Retry_After="3600"))) as server:
        assert code_of(lambda: client_of(server.url, clock=clock).rest("labs", "list")) == "alyx-throttled"
    assert clock.waits == []


@pytest.mark.parametrize("wait", ["Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-5"])
def test_an_odd_wait_does_no_harm(wait: str) -> None:
    with serve(answering(Reply.page(503, "Maintenance"), Reply.of([]))) as server:
        assert client_of(server.url).rest("labs", "list") == []
    with serve(answering(Reply(503, b"", {"Retry-After": wait}), Reply.of([]))) as server:
        assert client_of(server.url).rest("labs", "list") == []


def test_a_post_that_may_have_arrived_is_not_sent_again() -> None:
    with serve(answering(Reply.page(502, "Bad Gateway"), Reply.of({}))) as server:
        assert code_of(lambda: client_of(server.url).rest("new-download", "create", data={})) == "alyx-failed"
    assert len(server.asked) == 1


def test_an_answer_that_breaks_off_is_asked_for_again() -> None:
    whole = Reply.of([{"name": "a"}])
    with serve(answering(Reply(200, whole.body[:5], whole.headers, length=500), whole)) as server:
        assert client_of(server.url).rest("labs", "list") == [{"name": "a"}]


def test_json_that_is_none_is_asked_for_again() -> None:
    with serve(answering(Reply(200, b'{"a": ', {"Content-Type": "application/json"}), Reply.of([]))) as server:
        assert client_of(server.url).rest("labs", "list") == []


def test_nobody_there_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(DownloadError, match="Connection refused") as caught:
        client_of(url).rest("labs", "list")
    assert caught.value.code == "alyx-unreachable"
    assert caught.value.verdict is Verdict.RETRY


# --- time and size ------------------------------------------------------------------------------------


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_silent_server_is_given_up() -> None:
    with silent() as url:
        clock = Clock()
        limits = Limits(attempts=1, read_seconds=0.05)
        client = AlyxClient(credentials=Credentials(url), pace=clock, limits=limits, throttle=Throttle(clock))
        assert code_of(lambda: client.rest("labs", "list")) == "alyx-unreachable"


def test_a_server_that_drips_is_given_up() -> None:
    class Late(Clock):
        def monotonic(self) -> float:
            self.time += 100.0
            return self.time

    with silent() as url:
        clock = Late()
        client = AlyxClient(credentials=Credentials(url), pace=clock, throttle=Throttle(clock))
        assert code_of(lambda: client.rest("labs", "list")) == "alyx-unreachable"


def test_a_stop_ends_a_request_under_way() -> None:
    stop, answer = threading.Event(), threading.Event()

    def app(_: Asked) -> Reply:
        stop.set()
        answer.wait()
        return Reply.of([])

    with serve(app) as server:
        clock = Clock(stop)
        client = AlyxClient(credentials=Credentials(server.url), pace=clock, throttle=Throttle(clock))
        assert code_of(lambda: client.rest("labs", "list")) == "stopped"
        answer.set()


def test_an_answer_without_end_is_given_up() -> None:
    with serve(answering(Reply.of(["x" * 1000]))) as server:
        clock = Clock()
        limits = Limits(most_bytes=100)
        client = AlyxClient(credentials=Credentials(server.url), pace=clock, limits=limits, throttle=Throttle(clock))
        assert code_of(lambda: client.request("GET", "/labs")) == "alyx-too-large"
    assert len(server.asked) == 1


# --- redirects ----------------------------------------------------------------------------------------


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


# --- the shape of ONE ---------------------------------------------------------------------------------


def test_an_id_is_encoded_once() -> None:
    with serve(lambda asked: Reply.of({"path": asked.path})) as server:
        client = client_of(server.url)
        assert client.rest("data-repository", "read", id="a/b c#1?x=%20") == {
            "path": "/data-repository/a%2Fb%20c%231%3Fx%3D%2520"
        }
        assert client.rest("/datasets/", "read", f"{server.url}/datasets/0b305d2f") == {"path": "/datasets/0b305d2f"}


@pytest.mark.parametrize("nothing", [None, "", " ", "/"])
def test_a_record_without_a_name_is_not_asked_for(nothing: str | None) -> None:
    with serve(answering(Reply.of({}))) as server:
        client = client_of(server.url)
        assert code_of(lambda: DownloadClient.repo_from_alyx(nothing, client)) == "alyx-bad-request"  # type: ignore[arg-type]
    assert server.asked == []


def test_filters_are_spelt_as_one_does() -> None:
    with serve(answering(Reply.of({"count": 0, "results": []}))) as server:
        client_of(server.url).rest(
            "sessions", "list", no_cache=True, datasets=["a.npy", "b.npy"], lab=None, histology=True, expires=True
        )
    assert server.asked[0].query == {"limit": "1000", "datasets": "a.npy,b.npy", "histology": "True"}


@pytest.mark.parametrize(("endpoint", "name", "hint"), [("datasets", "labs", "lab"), ("labs", "names", "name")])
def test_a_filter_that_alyx_would_ignore_is_refused(endpoint: str, name: str, hint: str) -> None:
    with serve(answering(Reply.of([]))) as server, pytest.raises(DownloadError, match=f"did you mean '{hint}'"):
        client_of(server.url).rest(endpoint, "list", **{name: "x"})
    assert server.asked == []


def test_an_action_that_is_not_offered_says_so() -> None:
    client = client_of("http://127.0.0.1:9")
    assert code_of(lambda: client.rest("datasets", "delete", id="x")) == "alyx-bad-request"


def test_records_are_created_and_patched() -> None:
    with serve(lambda asked: Reply.of({"said": asked.body}, 201)) as server:
        client = client_of(server.url)
        assert client.rest("new-download", "create", data={"a": 1}) == {"said": '{"a": 1}'}
        client.rest("files", "partial-update", id="x", data={"json": None})
    assert server.paths == ["POST /new-download", "PATCH /files/x"]
    assert server.asked[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "answer", [{"results": "x", "count": 1}, {"detail": "x"}, "x", 5, [1], {"results": [], "count": None}]
)
def test_a_list_that_is_none_is_an_error(answer: object) -> None:
    with serve(answering(Reply.of(answer))) as server:
        assert code_of(lambda: client_of(server.url).rest("labs", "list")) == "alyx-url"


def test_pages_are_followed_to_the_last_row() -> None:
    rows = [{"name": f"lab{number}"} for number in range(7)]

    def app(asked: Asked) -> Reply:
        first, size = int(asked.query.get("offset", 0)), int(asked.query["limit"])
        return Reply.of({"count": 7, "next": "http://elsewhere/", "results": rows[first : first + size]})

    with serve(app) as server:
        assert client_of(server.url).rest("labs", "list", limit=3) == rows
        assert client_of(server.url).rest("labs", "list", limit=3, offset=5) == rows[5:]
    assert len(server.asked) == 4


def test_notices_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with serve(answering(Reply.of([], Deprecation="true", Alyx_API_Notice="Move on."))) as server:
        client = client_of(server.url)
        for _ in range(3):
            client.rest("labs", "list")
    assert caplog.text.count("Deprecation: true") == caplog.text.count("Alyx-API-Notice: Move on.") == 1


# --- secrets ------------------------------------------------------------------------------------------


def test_no_secret_is_ever_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(guarded) as server:
        client = client_of(server.url, user="alice", password=PASSWORD, token=OLD)
        client.rest("labs", "read", id="a")
        shown = [repr(client), repr(client.credentials), str(client.credentials), repr(client._login)]
        with pytest.raises(DownloadError) as caught:
            client_of(server.url, user="alice", password="wrong password").login()
    shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__), caplog.text]
    for secret in (PASSWORD, "correct+horse", OLD, NEW, "wrong password", "wrong+password"):
        assert not any(secret in text for text in shown)


REPOSITORY = {
    "name": "aws_lab",
    "globus_endpoint_id": None,
    "json": {"bucket_name": "b", "Access key ID": "AKIA", "Secret access key": "s3cr3t", "more": [{"password": "p"}]},
}


def test_a_repository_is_looked_up_without_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(answering(Reply.of(REPOSITORY))) as server:
        monkeypatch.setenv("ALYX_URL", server.url)
        monkeypatch.setenv("ALYX_TOKEN", NEW)
        found = lookup_repository.fn("aws_lab")
        assert DownloadClient.repo_from_alyx("aws_lab", AlyxClient()) == REPOSITORY
    assert found["json"] == {
        "bucket_name": "b",
        "Access key ID": None,
        "Secret access key": None,
        "more": [{"password": None}],
    }
    assert without_secrets("text") == "text"


def test_the_result_of_a_look_up_is_not_stored() -> None:
    assert lookup_repository.persist_result is False
    assert lookup_repository.retries == 0
