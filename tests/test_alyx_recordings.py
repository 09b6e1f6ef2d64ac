"""Every exchange recorded with a real Alyx, replayed over a socket: what the client returns or raises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tasks.clients.verdicts import DownloadError, Verdict
from tests.loopback import Asked, Reply, client_of, serve

RECORDINGS = Path(__file__).parent / "recordings"
NAMES = sorted(path.stem for path in RECORDINGS.glob("*.json"))
WALKS = [name for name in NAMES if name.startswith("walk-")]
LOGINS = ["auth-token-ok-form", "auth-token-bad-password", "auth-token-unknown-user"]


def recording(name: str) -> dict[str, Any]:
    return json.loads((RECORDINGS / f"{name}.json").read_text("utf-8"))


def reply_of(response: dict[str, Any]) -> Reply:
    headers = {
        key: value
        for key, value in response["headers"].items()
        if key not in ("Content-Length", "Transfer-Encoding", "Connection", "Server")
    }
    if "body" in response:
        return Reply(response["status"], json.dumps(response["body"]).encode(), headers)
    if "body_text" in response:
        whole = int(response["headers"].get("Content-Length", 0)) if response.get("truncated") else None
        return Reply(response["status"], response["body_text"].encode(), headers, whole)
    return Reply(response["status"], b"\0" * response["body_bytes"], headers)


def matches(asked: Asked, request: dict[str, Any]) -> bool:
    return (asked.method, asked.path, asked.query) == (request["method"], request["path"], dict(request["query"]))


def replay(name: str) -> Any:
    """Ask what was asked then, and be answered what was answered, there and where a redirect leads."""
    told, then = recording(name), FOLLOWED.get(name)
    request = told["request"]

    def app(asked: Asked) -> Reply:
        if matches(asked, request):
            return reply_of(told["response"])
        followed = then and matches(asked, recording(then)["request"])
        return reply_of(recording(then)["response"]) if followed else Reply.page(404, "Not Found")

    with serve(app) as server:
        if name in LOGINS:
            form = dict(parse_qsl(request["body"]))
            client_of(server.url, user=form["username"], password=form["password"]).login()
            return dict(parse_qsl(server.asked[-1].body)) == form
        query, data = dict(request["query"]), request["body"] and json_or_text(request["body"])
        return client_of(server.url).request(request["method"], request["path"], query=query, data=data)


def json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


#: Exchanges that end in an error, and which one. All others have to return what was recorded.
ERRORS = {
    "alyx-bad-request": """
        auth-token-get-not-allowed datasets-accept-unsupported datasets-bad-created-date datasets-by-session-not-uuid
        datasets-by-session-unknown delete-method-on-list http-range-416 post-malformed-json s3-range-416""",
    "alyx-error": """
        datasets-bad-qc datasets-django-bad-uuid datasets-django-odd-args datasets-django-unknown-field
        datasets-options new-download-unknown sessions-bad-date-range""",
    "alyx-forbidden": "public-user-patch-refused",
    "alyx-gateway": "http-auth-401 http-auth-401-bad-password s3-unsigned-403",
    "alyx-login": "auth-token-bad-password auth-token-missing-password auth-token-unknown-user",
    "alyx-no-credentials": "bad-auth-scheme cache-info-noauth noauth-datasets",
    "alyx-not-found": """
        cache-info-unknown-tag data-repository-404 datasets-read-404 datasets-read-not-a-uuid datasets-trailing-slash
        http-exists-false-404 http-get-404 http-open-server-404-for-private root s3-404 sessions-read-404""",
    "alyx-throttled": "throttled-429",
    "alyx-token": "invalid-token malformed-token-header",
    # Recorded in part, so they arrive cut off.
    "alyx-unreachable": """
        api-schema api-schema-noauth datasets-accept-html datasets-list-default-page datasets-list-limit-5000
        docs-coreapi""",
    "alyx-url": """
        cache-zip disallowed-host docs-html docs-no-slash http-get http-get-revision http-get-unicode-space
        http-if-range-stale http-range-206 http-range-open-206 s3-list-v2 s3-range-206""",
}
CODES = {name: code for code, names in ERRORS.items() for name in names.split()}
FOLLOWED = {"cache-info-no-slash": "cache-info", "docs-no-slash": "docs-html"}
EXCHANGES = [name for name in NAMES if name not in WALKS]


def expected(name: str) -> Any:
    if name in LOGINS:
        return True
    response = recording(FOLLOWED.get(name, name))["response"]
    return response.get("body")


def test_every_recording_is_judged() -> None:
    assert len(EXCHANGES) == 149
    assert set(CODES) <= set(EXCHANGES)


@pytest.mark.parametrize("name", [name for name in EXCHANGES if name not in CODES])
def test_what_alyx_answered_is_returned(name: str) -> None:
    assert replay(name) == expected(name)


@pytest.mark.parametrize("name", CODES)
def test_what_alyx_refused_is_an_error_with_a_next_step(name: str) -> None:
    with pytest.raises(DownloadError) as caught:
        replay(name)
    assert caught.value.code == CODES[name]
    assert caught.value.next_step
    assert "alyx" in str(caught.value).lower()
    assert "TOKEN" not in caught.value.reason
    assert "<html" not in str(caught.value)


READS = [name for name in EXCHANGES if "-read" in name and name not in CODES]
LISTS = [
    name for name in EXCHANGES if name not in CODES and "results" in (recording(name)["response"].get("body") or {})
]


@pytest.mark.parametrize("name", READS)
def test_rest_reads_as_one_does(name: str) -> None:
    told = recording(name)
    endpoint, _, identifier = told["request"]["path"].strip("/").rpartition("/")
    with serve(lambda asked: reply_of(told["response"])) as server:
        assert client_of(server.url).rest(endpoint, "read", id=identifier, no_cache=True) == told["response"]["body"]
        assert server.asked[0].path == told["request"]["path"]


@pytest.mark.parametrize("name", LISTS)
def test_rest_lists_what_fits_a_page(name: str) -> None:
    told = recording(name)
    endpoint, body = told["request"]["path"].strip("/"), told["response"]["body"]
    filters = dict(told["request"]["query"])
    with serve(lambda asked: reply_of(told["response"])) as server:
        if name == "datasets-unknown-parameter" or endpoint not in ("datasets", "sessions", "files"):
            filters = {"limit": 1000}
        page = client_of(server.url).page(endpoint, **filters)
        assert (page.count, page.rows) == (body["count"], body["results"])
        if len(body["results"]) == body["count"]:
            assert client_of(server.url).rest(endpoint, "list", **filters) == body["results"]
        assert server.asked[-1].query == {"limit": "1000", **{key: str(value) for key, value in filters.items()}}


@pytest.mark.parametrize("name", WALKS)
def test_a_walk_that_lost_rows_is_an_error(name: str) -> None:
    """The pages of the walk as they came; a query that was not part of it is answered as if nothing was asked for."""
    walk = recording(name)
    pages = {tuple(sorted(parse_qsl(urlsplit(page["url"]).query))): page for page in walk["pages"]}

    def app(asked: Asked) -> Reply:
        page = pages.get(tuple(sorted(asked.query.items())), walk["pages"][0])
        rows = [{"url": f"http://alyx/datasets/{identifier}"} for identifier in page["ids"]]
        return Reply.of({"count": page["count"], "next": page["next"], "previous": None, "results": rows})

    first = dict(parse_qsl(urlsplit(walk["pages"][0]["url"]).query))
    with serve(app) as server, pytest.raises(DownloadError) as caught:
        client_of(server.url).rest("datasets", "list", **first)
    assert len(server.asked) > len(walk["pages"])
    assert caught.value.code == "alyx-incomplete"
    assert caught.value.verdict is Verdict.RETRY
