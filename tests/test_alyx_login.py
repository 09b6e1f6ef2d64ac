"""Logging in to Alyx: one login for all threads, one new login for an invalid token, and no secret anywhere."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tasks.alyx import AlyxClient, lookup_repository, without_secrets
from tasks.clients.base import DownloadClient
from tasks.clients.verdicts import DownloadError
from tasks.rest.credentials import Credentials
from tests.loopback import (
    INVALID_TOKEN,
    NEW_TOKEN,
    OLD_TOKEN,
    PASSWORD,
    Asked,
    Reply,
    answering,
    client_of,
    code_of,
    guarded,
    serve,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_a_password_is_asked_for_a_token_once() -> None:
    with serve(guarded) as server:
        client = client_of(server.url, user="alice", password=PASSWORD)
        client.rest("labs", "read", id="a")
        client.rest("labs", "read", id="b")
    assert server.paths == ["POST /auth-token", "GET /labs/a", "GET /labs/b"]


def test_an_invalid_token_is_renewed_once_for_all_threads() -> None:
    with serve(guarded) as server:
        client = client_of(server.url, user="alice", password=PASSWORD, token=OLD_TOKEN)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda name: client.rest("labs", "read", id=name), "abcdefgh"))
    assert [row["name"] for row in found] == [f"/labs/{name}" for name in "abcdefgh"]
    assert server.paths.count("POST /auth-token") == 1


def test_an_invalid_token_without_a_password_is_an_error() -> None:
    with serve(guarded) as server:
        assert code_of(lambda: client_of(server.url, token=OLD_TOKEN).rest("labs", "read", id="a")) == "alyx-token"
    assert len(server.asked) == 1


def test_a_new_token_that_is_refused_too_ends_it() -> None:
    def app(asked: Asked) -> Reply:
        return Reply.of({"token": NEW_TOKEN}) if asked.path == "/auth-token" else INVALID_TOKEN

    with serve(app) as server:
        client = client_of(server.url, user="alice", password=PASSWORD, token=OLD_TOKEN)
        assert code_of(lambda: client.rest("labs", "read", id="a")) == "alyx-token"
    assert server.paths == ["GET /labs/a", "POST /auth-token", "GET /labs/a"]


def test_a_wrong_password_is_one_clear_error() -> None:
    with serve(guarded) as server:
        assert code_of(lambda: client_of(server.url, user="alice", password="no").rest("labs", "list")) == "alyx-login"
    assert server.paths == ["POST /auth-token"]


def test_a_new_token_goes_where_the_old_one_was() -> None:
    kept: list[str] = []
    with serve(guarded) as server:
        client_of(server.url, user="alice", password=PASSWORD, token=OLD_TOKEN, keep=kept.append).rest(
            "labs", "read", id="a"
        )
    assert kept == [NEW_TOKEN]


def test_a_token_that_cannot_be_stored_is_used_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    with serve(guarded) as server:
        client = client_of(server.url, user="alice", password=PASSWORD, token=OLD_TOKEN, keep=full)
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
    assert [one.headers.get("Authorization") for one in server.asked] == [None, f"Token {NEW_TOKEN}"]


def test_cookies_are_not_kept() -> None:
    with serve(answering(Reply.of({}, Set_Cookie="sessionid=1; Path=/"))) as server:
        client = client_of(server.url)
        client.request("GET", "/labs/a")
        client.request("GET", "/labs/b")
    assert "Cookie" not in server.asked[1].headers


def test_a_login_is_never_used_for_another_server() -> None:
    login = Credentials("https://alyx.example.org", token=NEW_TOKEN)
    assert code_of(lambda: AlyxClient("https://other.example.org", credentials=login)) == "alyx-url"


def test_no_secret_is_ever_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(guarded) as server:
        client = client_of(server.url, user="alice", password=PASSWORD, token=OLD_TOKEN)
        client.rest("labs", "read", id="a")
        shown = [repr(client), repr(client.credentials), str(client.credentials), repr(client._login)]
        with pytest.raises(DownloadError) as caught:
            client_of(server.url, user="alice", password="wrong password").login()
    shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__), caplog.text]
    for secret in (PASSWORD, "correct+horse", OLD_TOKEN, NEW_TOKEN, "wrong password", "wrong+password"):
        assert not any(secret in text for text in shown)


REPOSITORY = {
    "name": "aws_lab",
    "globus_endpoint_id": None,
    "json": {"bucket_name": "b", "Access key ID": "AKIA", "Secret access key": "s3cr3t", "more": [{"password": "p"}]},
}


def test_a_repository_is_looked_up_without_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(answering(Reply.of(REPOSITORY))) as server:
        monkeypatch.setenv("ALYX_URL", server.url)
        monkeypatch.setenv("ALYX_TOKEN", NEW_TOKEN)
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
