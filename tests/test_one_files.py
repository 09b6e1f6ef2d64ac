"""ONE's files per Alyx host: what ONE wrote is found, and what is written here ONE goes on with."""

import json
import stat
import string
import threading
from pathlib import Path
from types import SimpleNamespace

import one.params
import pytest
from hypothesis import given
from hypothesis import strategies as st
from one.webclient import AlyxClient

from tasks.clients import one_files, shared_json
from tasks.clients.verdicts import DownloadError

ALYX = "https://alyx.example.org"
OTHER = "http://127.0.0.1:8099"
TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(one.params, "CACHE_DIR_DEFAULT", str(tmp_path / "Downloads" / "ONE"))
    monkeypatch.setattr(shared_json, "time", SimpleNamespace(sleep=lambda _: None))
    return tmp_path


def set_up(url, **fields):
    """Set a host up as ONE does, silently, and change fields as ONE does."""
    one.params.setup(client=url, silent=True)
    parameters = {**one.params.get(client=url).as_dict(), **fields}
    one.params.save(parameters, url)


# --- names ----------------------------------------------------------------------------------------------------------


@given(st.sampled_from(["", "http://", "https://", "HTTPS://", "//"]), st.text())
def test_the_client_key_is_ones(scheme, rest):
    url = scheme + rest
    assert one_files.client_key(url) == one.params._key_from_url(url)


@pytest.mark.parametrize("url", [ALYX, OTHER, "https://Alyx.Example.org/sub/", "HTTP://x", "https://é.org", ".hidden"])
def test_the_file_of_a_host_is_ones(home, url):
    set_up(url)
    expected = one.params.get(client=url).as_dict()
    del expected["CACHE_DIR"]
    assert one_files.host_params(url) == expected
    assert one_files.cache_dir(url) == one.params.get_cache_dir(url)


@pytest.mark.parametrize("url", ["", "https://", "http://..", ".", "remote", "http://caches/"])
def test_a_url_that_names_another_file_of_one_is_refused(home, url):
    with pytest.raises(DownloadError, match="no URL"):
        one_files.host_params(url)
    with pytest.raises(DownloadError, match="no URL"):
        one_files.save_token(url, "ana", TOKEN)
    assert not list(home.rglob("*.tmp"))


# --- several hosts, several users -----------------------------------------------------------------------------------


def test_nothing_is_known_and_nothing_created_without_ones_files(home):
    assert one_files.host_params(ALYX) is None
    assert one_files.default_host() is None
    assert one_files.cache_dir(ALYX) is None
    assert one_files.token(ALYX) is None
    assert one_files.data_login(ALYX, ALYX) is None
    assert list(home.iterdir()) == []


def test_the_default_host_and_each_hosts_cache_directory(home):
    set_up(OTHER)
    one.params.setup(client=ALYX, silent=True, make_default=True, cache_dir=home / "data")
    assert one_files.default_host() == one.params.get_default_client() == ALYX
    assert one_files.cache_dir(ALYX) == home / "data"
    assert one_files.cache_dir(OTHER) == home / "Downloads" / "ONE" / "127.0.0.1_8099"


def test_a_token_is_found_by_host_and_user(home):
    set_up(ALYX, ALYX_LOGIN="ana", TOKEN={"ana": {"token": "a"}, "bob": {"token": "b"}})
    set_up(OTHER, TOKEN={"ana": {"token": "o"}})
    assert one_files.token(ALYX) == one_files.token(ALYX, "ana") == "a"
    assert one_files.token(ALYX, "bob") == "b"
    assert one_files.token(ALYX, "eve") is None
    assert one_files.token(OTHER, "ana") == "o"
    assert one_files.token(OTHER) is None


@pytest.mark.parametrize("stored", [{}, {"TOKEN": None}, {"TOKEN": {"ana": None}}, {"TOKEN": {"ana": {}}}])
def test_a_host_without_a_token(home, stored):
    set_up(ALYX, ALYX_LOGIN="ana", **stored)
    assert one_files.token(ALYX) is None


# --- saving a token -------------------------------------------------------------------------------------------------


def test_one_logs_in_with_a_token_that_was_saved_here(home):
    set_up(ALYX, HTTP_DATA_SERVER_LOGIN="lab", TOKEN={"bob": {"token": "b"}})
    one_files.save_token(ALYX, "ana", TOKEN)
    client = AlyxClient(base_url=ALYX, username="ana", silent=True)
    client.authenticate("ana")  # with a stored token ONE asks nobody
    assert client.is_logged_in
    assert client._headers["Authorization"] == f"Token {TOKEN}"
    parameters = one.params.get(client=ALYX)
    assert parameters.TOKEN == {"bob": {"token": "b"}, "ana": {"token": TOKEN}}
    assert parameters.HTTP_DATA_SERVER_LOGIN == "lab"
    assert parameters.ALYX_LOGIN == "ana"


@pytest.mark.parametrize("url", [ALYX, "https://openalyx.internationalbrainlab.org"])
def test_a_host_new_to_one_is_set_up_as_one_does_it(home, url):
    one_files.save_token(url, "ana", TOKEN)
    ours = one.params.get(client=url, silent=True).as_dict()
    assert ours.pop("TOKEN") == {"ana": {"token": TOKEN}}
    assert one.params.get_default_client() == url
    assert one.params.get_cache_dir() == one_files.cache_dir(url)
    one.params.delete_params()
    one.params.setup(client=url, silent=True, username="ana")
    assert ours == one.params.get(client=url).as_dict()


def test_a_second_host_leaves_the_default_and_the_first(home):
    set_up(OTHER)
    one_files.save_token(ALYX, "ana", TOKEN)
    one_files.save_token(ALYX, "ana", "newer")
    assert one.params.get_default_client() == OTHER
    assert one.params.get(client=ALYX, silent=True).TOKEN == {"ana": {"token": "newer"}}
    assert one.params.get_cache_dir(OTHER).name == "127.0.0.1_8099"


def test_ones_own_login_stays(home):
    set_up(ALYX, ALYX_LOGIN="bob")
    one_files.save_token(ALYX, "ana", TOKEN)
    assert one.params.get(client=ALYX).ALYX_LOGIN == "bob"


def test_the_file_is_closed_to_others(home):
    set_up(ALYX)
    one_files.save_token(ALYX, "ana", TOKEN)
    written = home / ".one" / ".alyx.example.org"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_many_users_tokens_saved_at_once_are_all_kept(home):
    users = list(string.ascii_lowercase[:12])
    threads = [threading.Thread(target=one_files.save_token, args=(ALYX, user, user)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {user: {"token": user} for user in users} == one.params.get(client=ALYX).TOKEN


@pytest.mark.parametrize("text", ["", "{", "[]", f'{{"TOKEN": "{TOKEN}"}}'])
def test_a_corrupt_file_is_reported_and_kept(home, text):
    set_up(ALYX)
    written = home / ".one" / ".alyx.example.org"
    written.write_text(text)
    for call in (one_files.token, lambda url: one_files.save_token(url, "ana", TOKEN)):
        with pytest.raises(DownloadError, match=str(written)) as raised:
            call(ALYX)
        assert raised.value.code == "params-file"
        assert TOKEN not in str(raised.value)
    assert written.read_text() == text


def test_a_corrupt_map_of_hosts_is_reported(home):
    set_up(ALYX)
    Path(home, ".one", ".caches").write_text("{")
    for call in (one_files.default_host, lambda: one_files.cache_dir(ALYX)):
        with pytest.raises(DownloadError, match=r"\.caches"):
            call()


# --- the HTTP data server -------------------------------------------------------------------------------------------

SERVER = "https://data.example.org/public"


@pytest.mark.parametrize(
    "url",
    [
        "https://data.example.org/public/a/b.npy",
        "https://data.example.org/elsewhere/#2024-01-01#/b.npy",
        "https://DATA.example.org:443/public/a",
        "https://data.example.org",
        "https://data.example.org/public@evil.net",
    ],
)
def test_the_data_servers_login_is_for_that_very_server(home, url):
    set_up(ALYX, HTTP_DATA_SERVER=SERVER, HTTP_DATA_SERVER_LOGIN="lab", HTTP_DATA_SERVER_PWD="pw")
    assert one_files.data_login(ALYX, url) == ("lab", "pw")


@pytest.mark.parametrize(
    "url",
    [
        "http://data.example.org/public/a",
        "https://data.example.org:8443/public/a",
        "https://data.example.org.evil.net/public/a",
        "https://data.example.org@evil.net/public",
        "https://evil.net\\@data.example.org/public",
        "https://evil.net/https://data.example.org/public",
        "https://data.example.org:port/public",
        "ftp://data.example.org/public",
        "//data.example.org/public",
        "data.example.org/public",
        "https://[::1/public",
        "",
    ],
)
def test_nobody_else_gets_it(home, url):
    set_up(ALYX, HTTP_DATA_SERVER=SERVER, HTTP_DATA_SERVER_LOGIN="lab", HTTP_DATA_SERVER_PWD="pw")
    assert one_files.data_login(ALYX, url) is None


@pytest.mark.parametrize("server", [None, "", "data.example.org"])
@pytest.mark.parametrize(("login", "password"), [(None, None), ("lab", None), (None, "pw"), ("", "")])
def test_without_a_whole_login_there_is_none(home, server, login, password):
    set_up(ALYX, HTTP_DATA_SERVER=SERVER, HTTP_DATA_SERVER_LOGIN=login, HTTP_DATA_SERVER_PWD=password)
    assert one_files.data_login(ALYX, SERVER) is None
    path = Path(home, ".one", ".alyx.example.org")
    path.write_text(
        json.dumps({"HTTP_DATA_SERVER": server, "HTTP_DATA_SERVER_LOGIN": "a", "HTTP_DATA_SERVER_PWD": "b"})
    )
    assert one_files.data_login(ALYX, server or "") is None
