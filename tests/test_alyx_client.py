"""The client against a server that misbehaves: retries, limits of time and size; and the shape that ONE's has."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tasks.alyx import AlyxClient
from tasks.clients.base import DownloadClient
from tasks.clients.verdicts import DownloadError, Verdict
from tasks.rest.credentials import Credentials
from tasks.rest.exchange import Limits
from tasks.rest.throttle import Throttle
from tests.loopback import Asked, Clock, Reply, answering, client_of, code_of, serve

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        limits = Limits(attempts=1, read_seconds=10)
        client = AlyxClient(credentials=Credentials(server.url), pace=clock, limits=limits, throttle=Throttle(clock))
        assert code_of(lambda: client.rest("labs", "list")) == "stopped"
        answer.set()


def test_an_answer_without_end_is_given_up() -> None:
    with serve(answering(Reply.of(["x" * 1000]))) as server:
        clock = Clock()
        limits = Limits(most_bytes=100)
        client = AlyxClient(credentials=Credentials(server.url), pace=clock, limits=limits, throttle=Throttle(clock))
        assert code_of(lambda: client.request("GET", "/labs")) == "alyx-too-large"
    assert len(server.asked) == 1


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
