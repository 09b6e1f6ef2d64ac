"""Who we are to Alyx: what wins over what, and what never happens with a secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tasks.clients.verdicts import DownloadError
from tasks.rest.credentials import Credentials, base_url, credentials_from

if TYPE_CHECKING:
    from pathlib import Path

URL, OTHER = "https://alyx.example.org", "https://other.example.org"
STORED = {
    "ALYX_URL": URL,
    "ALYX_LOGIN": "ana",
    "ALYX_PWD": "anas",
    "TOKEN": {"ana": {"token": "t-ana"}, "bob": {"token": "t-bob"}},
}


def shown(login: Credentials) -> tuple[str, ...]:
    return login.url, login.user, login.password.get_secret_value(), login.token.get_secret_value()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any of ONE's files."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def one(home: Path) -> Path:
    """ONE's file for its default host; the file's directory holds the map of hosts."""
    (home / ".one").mkdir()
    caches = {"CLIENT_MAP": {"alyx.example.org": "/data"}, "DEFAULT": "alyx.example.org"}
    (home / ".one" / ".caches").write_text(json.dumps(caches))
    file = home / ".one" / ".alyx.example.org"
    file.write_text(json.dumps(STORED))
    return file


ENVIRONMENT = {"ALYX_URL": f"{URL}/", "ALYX_LOGIN": "eve", "ALYX_PASSWORD": "eves"}


@pytest.mark.parametrize(
    ("environment", "arguments", "found"),
    [
        ({}, {}, (URL, "ana", "anas", "t-ana")),
        ({}, {"user": "bob"}, (URL, "bob", "", "t-bob")),
        ({"ALYX_LOGIN": "bob"}, {}, (URL, "bob", "", "t-bob")),
        ({}, {"user": "carl"}, (URL, "carl", "", "")),
        (ENVIRONMENT, {}, (URL, "eve", "eves", "")),
        ({**ENVIRONMENT, "ALYX_TOKEN": " t-env\n"}, {}, (URL, "eve", "eves", "t-env")),
        (ENVIRONMENT, {"user": "ana"}, (URL, "ana", "anas", "t-ana")),
        (ENVIRONMENT, {"user": "fay", "password": "fays"}, (URL, "fay", "fays", "")),
        (ENVIRONMENT, {"token": "t-arg"}, (URL, "eve", "", "t-arg")),
        (ENVIRONMENT, {"url": OTHER}, (OTHER, "", "", "")),
    ],
)
@pytest.mark.usefixtures("one")
def test_the_first_that_knows_wins(
    environment: dict[str, str], arguments: dict[str, str], found: tuple[str, ...]
) -> None:
    login = credentials_from(environment, **arguments)
    assert shown(login) == found


@pytest.mark.usefixtures("home")
def test_nothing_of_one_is_needed() -> None:
    login = credentials_from({"ALYX_TOKEN": "t-env"}, url=OTHER)
    assert shown(login) == (OTHER, "", "", "t-env")
    login = credentials_from({}, url="alyx.example.org/")
    assert shown(login) == (URL, "", "", "")
    assert all(place in login.origin for place in ("ALYX_TOKEN", "ALYX_PASSWORD", "ONE's files", URL))


@pytest.mark.usefixtures("home")
def test_without_any_server_it_says_what_to_set() -> None:
    with pytest.raises(DownloadError, match="Set ALYX_URL") as caught:
        credentials_from({})
    assert caught.value.code == "alyx-no-url"


def test_a_token_of_one_is_kept_up_to_date_and_no_other(one: Path) -> None:
    login = credentials_from({}, user="bob")
    assert login.origin == f"ONE's files for {URL}"
    assert login.keep
    login.keep("t-new")
    stored: dict[str, Any] = json.loads(one.read_text())
    assert stored == {**STORED, "TOKEN": {"ana": {"token": "t-ana"}, "bob": {"token": "t-new"}}}
    assert one.stat().st_mode & 0o777 == 0o600
    assert credentials_from(ENVIRONMENT).keep is None


def test_a_file_of_one_that_is_broken_says_which(one: Path) -> None:
    one.write_text('{"ALYX_LOGIN": "ana", "ALYX_PWD": "secret"')
    with pytest.raises(DownloadError, match=r"\.alyx\.example\.org") as caught:
        credentials_from({})
    assert "secret" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    said = repr(Credentials(URL, "ana", "anas-password", "anas-token"))
    assert "anas-" not in said


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
