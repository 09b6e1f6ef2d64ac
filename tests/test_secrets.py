"""Marked secrets in every place that may hold one, failures of every kind, and then a search of all that is left.

What is searched: what was said, logs at debug level, Prefect's database, the ledger, plans, artifacts, events,
temporary files, command lines, and the frames of a report of a crash; raw, in base64, in hex and as a URL spells it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import sqlite3
import stat
import threading
import traceback
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import psutil
import pytest
from pydantic import SecretStr

from deployments.sandbox.full import REFRESH_TOKEN, FullLab
from deployments.sandbox.lab import MEMBER, MEMBER_PASSWORD, PASSWORD, SECRET_KEY, USER
from tasks.alyx import AlyxClient
from tasks.clients import WireOptions, client_for, one_files, shared_json, store
from tasks.clients.globus.login import connect
from tasks.clients.verdicts import DownloadError
from tasks.ledgers.database import Database
from tasks.rest.credentials import Credentials
from tests.loopback import Reply, answering, serve
from tests.pace import FakePace
from tests.shell import run

MARK = "Marked/Secret+{}&=?/0123456789"
PROXY, API_KEY, CLIENT_SECRET, SESSION_TOKEN, DATABASE, WRONG = (
    MARK.format(name) for name in ("proxy", "kachery", "globus", "s3-session", "database", "wrong")
)
CLIENT_KEY = "c0ffee" * 10 + "beef"
DEBUG = {
    "PREFECT_LOGGING_LEVEL": "DEBUG",
    "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "urllib3,requests,botocore,boto3,globus_sdk,tasks,flows,filelock,httpx",
}


def spellings(secret):
    """How a secret may be written: as it is, as a URL or JSON or hex has it, and base64 at each of its three places."""
    raw = secret.encode()
    yield from {raw, quote(secret, safe="").encode(), quote_plus(secret).encode(), quote(secret).encode()}
    yield json.dumps(secret)[1:-1].encode()
    yield from (raw.hex().encode(), raw.hex().upper().encode())
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = encode(b"\0" * before + raw)
            yield encoded[4 if before else 0 : len(encoded) - 4]  # without what depends on its neighbours


def leaks(content, secrets):
    return [secret for secret in secrets if any(form in content for form in spellings(secret))]


def left(*folders):
    """Every file below, and what the databases among them hold, row by row: a long value is split over pages."""
    for path in (path for folder in folders for path in Path(folder).rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # a server is still at work
            if path.is_file():
                yield path, path.read_bytes()
            if path.is_file() and path.suffix in (".db", ".sqlite"):
                with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as database:
                    yield path, "\n".join(database.iterdump()).encode()


def test_every_spelling_is_found():
    for secret in (PROXY, CLIENT_KEY, "sandbox-alice"):
        for form in (secret, f"user:{secret}", f"x{secret}y"):
            assert leaks(base64.b64encode(form.encode()), [secret])
        assert leaks(json.dumps({"password": secret}).encode(), [secret])
        assert leaks(f"https://h/?key={quote_plus(secret)}".encode(), [secret])
    assert not leaks(b"nothing of it", [PROXY])


class Watcher:
    """Reads the command lines of all processes, again and again."""

    def __init__(self):
        self.seen = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while not self._ended.wait(0.05):
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    self.seen.add(" ".join(process.cmdline()))


@pytest.fixture(scope="module")
def full():
    with FullLab() as full:
        yield full


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_with_failures_of_every_kind_leaves_no_secret(full, prefect_api, tmp_path):
    lab, said = full.lab, []
    environment = {
        **os.environ,
        **full.environment(),
        **DEBUG,
        "TMPDIR": str(tmp_path / "tmp"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HTTPS_PROXY": f"http://somebody:{quote(PROXY, safe='')}@127.0.0.1:9",
        "KACHERY_API_KEY": API_KEY,
        "PREFECT_INTEGRATIONS_ALYX_ATTEMPTS": "1",
        "PREFECT_INTEGRATIONS_ALYX_RESERVE_BYTES": "0",
    }
    (tmp_path / "tmp").mkdir()
    home = Path(environment["HOME"])
    (home / ".one" / ".remote").chmod(0o644)
    away = lab.world.repositories["flatiron_churchlandlab"]
    lab.urls["away"] = "https://files.invalid/data"  # only the proxy could reach it
    lab.world.repositories[away.name] = replace(away, server="away")

    def told(*arguments, **more):
        done = run({**environment, **more}, *arguments, "--root", tmp_path / "root")
        said.append(f"{arguments}\n{done.out}\n{done.err}")
        return done.code

    with Watcher() as watcher:
        lab.members[MEMBER] = "another"  # the file server's login is refused
        lab.s3.gate.secrets.clear()  # and S3's keys
        assert told("fetch", "--everything", "--revision-rule", "all") in (3, 5, 7)
        full.globus.clear_faults()
        refused = {"GLOBUS_CLIENT_ID": "cccccccc-0000-4000-8000-000000000009", "GLOBUS_CLIENT_SECRET": CLIENT_SECRET}
        assert told("doctor", **refused, KACHERY_CLOUD_PRIVATE_KEY=CLIENT_KEY, KACHERY_GATEWAY_URL="http://127.0.0.1:9")
        assert told("retry", AWS_SESSION_TOKEN=SESSION_TOKEN, AWS_ACCESS_KEY_ID="AKIA", AWS_SECRET_ACCESS_KEY=WRONG)
        assert told("plan", "--everything", ALYX_PASSWORD=WRONG, ALYX_TOKEN="", HOME=str(tmp_path)) == 7
        told("status", "--json")
        token = lab.alyx.accounts.token(USER)
    tokens = [value for _, value in stored_strings(home / ".one" / ".remote") if len(value) > 30]
    secrets = {PASSWORD, MEMBER_PASSWORD, SECRET_KEY, REFRESH_TOKEN, PROXY, API_KEY, CLIENT_SECRET, CLIENT_KEY,
               SESSION_TOKEN, WRONG, token, *tokens} - public(home)  # fmt: skip
    assert len(secrets) >= 11
    for text in (*said, *watcher.seen):
        assert leaks(text.encode(), secrets) == [], text[:2000]
    places = [os.environ["PREFECT_HOME"], tmp_path]
    kept = list(left(*places))
    assert any(path.name == "prefect.db" for path, _ in kept)
    assert any(path.name == "ledger.db" for path, _ in kept)
    assert {str(path): found for path, content in kept if (found := leaks(content, secrets))} == {}
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in (home / ".one").iterdir() if path.is_file())
    ours = tmp_path / "root" / ".prefect-alyx"
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in ours.rglob("*") if path.is_dir())
    assert "could be read by others" in "".join(said)


def stored_strings(path):
    for profile in json.loads(path.read_text()).get("globus", {}).values():
        yield from ((name, value) for name, value in profile.items() if isinstance(value, str))


def public(home):
    """What lies in the store and is no secret: ids and paths."""
    return {value for name, value in stored_strings(home / ".one" / ".remote") if "token" not in name}


# --- a report of a crash shows the variables of every frame --------------------------------------------------------


def report_of(call):
    """What crash reporters send: the traceback with the variables of its frames."""
    with pytest.raises(DownloadError) as caught:
        call()
    return "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("GLOBUS_CLIENT_ID", "GLOBUS_CLIENT_SECRET", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


OPTIONS = WireOptions(attempts=1, connect_seconds=2, stall_seconds=2)


@pytest.mark.parametrize("reply", [Reply(401, b""), Reply(500, b""), Reply(200, b"half", length=100), Reply(302, b"")])
def test_no_frame_of_a_failed_download_shows_a_secret(reply, home, caplog):
    caplog.set_level(logging.DEBUG)
    with serve(answering(reply)) as server:
        login = {"HTTP_DATA_SERVER_LOGIN": "ana", "HTTP_DATA_SERVER_PWD": WRONG}
        http = client_for("http", {"data_url": server.url}, login, OPTIONS, pace=FakePace())
        keys = {"bucket_name": "b", "Access key ID": "AKIA", "Secret access key": CLIENT_SECRET}
        aws = client_for("aws", {"json": keys}, {"endpoint_url": server.url}, OPTIONS, pace=FakePace())
        for client in (http, aws):
            said = report_of(lambda client=client: client.download_file(client.to_address("a.npy"), home / "a.npy"))
            assert leaks(said.encode(), [WRONG, CLIENT_SECRET]) == []
            assert leaks(repr(client).encode(), [WRONG, CLIENT_SECRET]) == []
    assert leaks(caplog.text.encode(), [WRONG, CLIENT_SECRET]) == []


@pytest.mark.parametrize(
    "reply", [Reply(400, b"{}"), Reply(200, b"half", length=100), Reply(403, b"no"), Reply(200, b"[]")]
)
def test_no_frame_of_a_failed_login_shows_a_secret(reply, home, caplog):
    caplog.set_level(logging.DEBUG)
    with serve(answering(reply)) as server:
        client = AlyxClient(credentials=Credentials(server.url, "alice", password=WRONG), pace=FakePace())
        assert leaks(report_of(client.login).encode(), [WRONG]) == []
        client = AlyxClient(credentials=Credentials(server.url, "alice", token="0123456789abcdef" * 3), pace=FakePace())
        said = report_of(lambda: client.rest("labs", "read", id="a") or client.rest("labs", "list"))
        assert leaks(said.encode(), ["0123456789abcdef" * 3]) == []
    assert leaks(caplog.text.encode(), [WRONG, "0123456789abcdef" * 3]) == []


@pytest.mark.parametrize(
    "reply", [Reply(400, b'{"error": "invalid_grant"}'), Reply(500, b""), Reply(200, b"half", length=9)]
)
def test_no_frame_of_a_failed_refresh_shows_a_secret(reply, home, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    fields = {"GLOBUS_CLIENT_ID": "cccccccc-0000-4000-8000-000000000003", "refresh_token": WRONG}
    endpoint = "0b6f5a7c-a7a9-11e8-96fa-0a6d4e044368"
    store.merge_profile("globus", "default", fields)
    with serve(answering(reply)) as server:
        monkeypatch.setenv("GLOBUS_SDK_SERVICE_URL_AUTH", server.url)
        monkeypatch.setenv("GLOBUS_SDK_SERVICE_URL_TRANSFER", server.url)
        said = report_of(lambda: connect({}, FakePace(), attempts=1).endpoint(endpoint))
        assert leaks(said.encode(), [WRONG]) == []
        account = {"client_id": fields["GLOBUS_CLIENT_ID"], "client_secret": SecretStr(CLIENT_SECRET)}
        said = report_of(
            lambda: connect(account, FakePace(), attempts=1).endpoint("0b6f5a7c-a7a9-11e8-96fa-0a6d4e044368")
        )
        assert leaks(said.encode(), [CLIENT_SECRET]) == []
    assert leaks(caplog.text.encode(), [WRONG, CLIENT_SECRET]) == []


def test_no_frame_of_a_database_that_is_away_shows_its_password():
    url = f"postgresql+psycopg://ana:{quote(DATABASE, safe='')}@127.0.0.1:9/ledger"
    said = report_of(lambda: Database.open(url, 1.0))
    assert DATABASE not in str(said.splitlines()[-1])
    assert leaks(said.splitlines()[-1].encode(), [DATABASE]) == []


# --- ONE's own files ----------------------------------------------------------------------------------------------


def test_one_s_files_are_closed_to_others_with_a_word(home, caplog):
    (home / ".one").mkdir()
    (home / ".one" / ".remote").write_text('{"http": {"default": {"HTTP_DATA_SERVER": "https://a"}}}')
    (home / ".one" / ".alyx.lab.org").write_text('{"ALYX_LOGIN": "ana"}')
    for path in (home / ".one").iterdir():
        path.chmod(0o644)
    assert store.profile("http") == {"HTTP_DATA_SERVER": "https://a"}
    assert one_files.host_params("https://alyx.lab.org") == {"ALYX_LOGIN": "ana"}
    assert [path.stat().st_mode & 0o777 for path in (home / ".one").iterdir()] == [0o600] * 2
    assert caplog.text.count("could be read by others (mode 0644)") == 2
    caplog.clear()
    assert shared_json.read(store.path())
    assert caplog.text == ""


def test_a_file_of_somebody_else_is_read_all_the_same(home, monkeypatch):
    (home / "shared.json").write_text("{}")
    (home / "shared.json").chmod(0o640)

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(shared_json.os, "fchmod", refuse)
    assert shared_json.read(home / "shared.json") == {}
