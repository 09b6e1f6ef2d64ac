"""Who we are to Alyx: what wins over what, and what never happens with a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks import one_home
from tasks.clients.verdicts import DownloadError
from tasks.credentials import Credentials, base_url, credentials_from

URL, OTHER = "https://alyx.example.org", "https://other.example.org"


class One:
    """ONE's files, in memory."""

    def __init__(self, default: str | None = None, **hosts: dict[str, Any]) -> None:
        self.default = default
        self.hosts = {URL: hosts.get("params")}
        self.saved: list[tuple[str, str, str]] = []

    def default_host(self) -> str | None:
        return self.default

    def host_params(self, alyx_url: str) -> dict[str, Any] | None:
        return self.hosts.get(alyx_url)

    def token(self, alyx_url: str, user: str | None = None) -> str | None:
        return ((self.hosts.get(alyx_url) or {}).get("TOKEN") or {}).get(user, {}).get("token")

    def save_token(self, alyx_url: str, user: str, token: str) -> None:
        self.saved.append((alyx_url, user, token))


STORED = One(
    default=URL,
    params={"ALYX_LOGIN": "ana", "ALYX_PWD": "anas", "TOKEN": {"ana": {"token": "t-ana"}, "bob": {"token": "t-bob"}}},
)
ENVIRONMENT = {"ALYX_URL": f"{URL}/", "ALYX_LOGIN": "eve", "ALYX_PASSWORD": "eves"}


@pytest.mark.parametrize(
    ("environment", "one", "arguments", "found"),
    [
        ({}, STORED, {}, (URL, "ana", "anas", "t-ana")),
        ({}, STORED, {"user": "bob"}, (URL, "bob", "", "t-bob")),
        ({"ALYX_LOGIN": "bob"}, STORED, {}, (URL, "bob", "", "t-bob")),
        ({}, STORED, {"user": "carl"}, (URL, "carl", "", "")),
        (ENVIRONMENT, STORED, {}, (URL, "eve", "eves", "")),
        ({**ENVIRONMENT, "ALYX_TOKEN": " t-env\n"}, STORED, {}, (URL, "eve", "eves", "t-env")),
        (ENVIRONMENT, STORED, {"user": "ana"}, (URL, "ana", "anas", "t-ana")),
        (ENVIRONMENT, STORED, {"user": "fay", "password": "fays"}, (URL, "fay", "fays", "")),
        (ENVIRONMENT, STORED, {"token": "t-arg"}, (URL, "eve", "", "t-arg")),
        (ENVIRONMENT, STORED, {"url": OTHER}, (OTHER, "", "", "")),
        ({"ALYX_TOKEN": "t-env"}, One(), {"url": OTHER}, (OTHER, "", "", "t-env")),
        ({}, One(), {"url": "alyx.example.org/"}, (URL, "", "", "")),
    ],
)
def test_the_first_that_knows_wins(
    environment: dict[str, str], one: One, arguments: dict[str, str], found: tuple[str, ...]
) -> None:
    login = credentials_from(environment, one, **arguments)
    assert (login.url, login.user, login.password, login.token) == found


def test_a_token_of_one_is_kept_up_to_date_and_no_other() -> None:
    login = credentials_from({}, STORED, user="bob")
    assert login.keep
    login.keep("t-new")
    assert STORED.saved == [(URL, "bob", "t-new")]
    assert credentials_from(ENVIRONMENT, STORED).keep is None


def test_where_was_looked_is_told() -> None:
    assert "ALYX_TOKEN" in credentials_from({}, One(), url=URL).origin
    assert credentials_from({}, STORED).origin == f"ONE's files for {URL}"


def test_secrets_are_not_shown() -> None:
    shown = repr(Credentials(URL, "ana", "anas-password", "anas-token"))
    assert "anas-" not in shown


@pytest.mark.parametrize("token", ["a b", "a\nb", "a\x00", "tökén"])
def test_a_token_that_no_header_can_hold_is_refused_unread(token: str) -> None:
    with pytest.raises(DownloadError) as caught:
        Credentials(URL, token=token)
    assert caught.value.code == "alyx-token"
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://a.org/", "https://a.org"),
        (" a.org ", "https://a.org"),
        ('"https://a.org"', "https://a.org"),
        ("http://127.0.0.1:8000/alyx//", "http://127.0.0.1:8000/alyx"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses(url: str, address: str) -> None:
    assert base_url(url) == address


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "alyx-no-url"),
        ("  ", "alyx-no-url"),
        ("ftp://a.org", "alyx-url"),
        ("https://", "alyx-url"),
        ("https://[", "alyx-url"),
        ("https://a.org:x", "alyx-url"),
        ("https://ana:anas@a.org", "alyx-url"),
    ],
)
def test_what_is_no_address(url: str, code: str) -> None:
    with pytest.raises(DownloadError) as caught:
        base_url(url)
    assert caught.value.code == code
    assert "anas" not in str(caught.value)


def test_ones_own_files_are_read_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert one_home.default_host() is None
    assert one_home.token(URL) is None
    files = {
        ".caches": {"CLIENT_MAP": {}, "DEFAULT": "alyx.example.org"},
        ".alyx.example.org": {"ALYX_URL": URL, "ALYX_LOGIN": "ana", "TOKEN": {"ana": {"token": "t"}}},
    }
    (tmp_path / ".one").mkdir()
    for name, content in files.items():
        (tmp_path / ".one" / name).write_text(json.dumps(content))
    login = credentials_from({}, one_home)
    assert (login.url, login.user, login.token) == (URL, "ana", "t")
    one_home.save_token(URL, "bob", "t2")
    stored = tmp_path / ".one" / ".alyx.example.org"
    assert json.loads(stored.read_text())["TOKEN"] == {"ana": {"token": "t"}, "bob": {"token": "t2"}}
    assert stored.stat().st_mode & 0o777 == 0o600
