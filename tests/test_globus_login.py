"""Globus logins: ONE's own, refreshed once by everybody together; service accounts; people at terminals."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
import time

import globus_sdk
import pytest
import requests
from one.remote.base import load_client_params
from pydantic import SecretStr

from deployments.sandbox.globus import TRANSFER_SCOPE
from tasks.clients import store
from tasks.clients.globus.client import GlobusClient
from tasks.clients.globus.login import StoredLogin, connect
from tasks.clients.seams import Pace
from tasks.clients.verdicts import DownloadError, Verdict
from tests.forks import FORKS

pytest_plugins = ["globus_lab"]

NATIVE = "525cc543-8ccb-4d11-8036-af332da5eafd"
SECRET = "the service's secret"


@pytest.fixture
def home(lab, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GLOBUS_CLIENT_SECRET", raising=False)
    lab.emulator.tokens(
        refresh=[{"token": "Rg1", "client": NATIVE, "scope": TRANSFER_SCOPE}],
        clients=[{"client": lab.STORE, "secret": SECRET}],
        access=[{"token": "Ag1", "client": NATIVE, "scope": TRANSFER_SCOPE}],
        refresh_reply="omit",
        lifetime=172_800,
    )
    return tmp_path


def write_profile(home, **fields):
    """A profile as ONE itself leaves it."""
    (home / ".one").mkdir(exist_ok=True)
    full = {"GLOBUS_CLIENT_ID": NATIVE, "local_endpoint": None, "local_path": None, **fields}
    (home / ".one" / ".remote").write_text(json.dumps({"globus": {"default": full}, "aws": {"default": {"a": 1}}}))


def stored(home):
    return json.loads((home / ".one" / ".remote").read_text())["globus"]["default"]


def in_an_hour():
    return int(time.time()) + 3600


def ask(params=None):
    """One call of Globus Transfer, as whoever is configured."""
    return connect(params or {}, Pace()).submission_id()


def code_of(call, *arguments):
    with pytest.raises(DownloadError) as caught:
        call(*arguments)
    return caught.value


def test_a_valid_token_costs_no_request(lab, home):
    write_profile(home, refresh_token="Rg1", access_token="Ag1", expires_at_seconds=in_an_hour())
    before = (home / ".one" / ".remote").read_bytes()
    connect({}, Pace())
    assert lab.emulator.requests() == []
    ask()
    assert [row["request"] for row in lab.emulator.requests()] == ["GET /v0.10/submission_id"]
    assert (home / ".one" / ".remote").read_bytes() == before


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York", "UTC"])
def test_expiry_knows_no_time_zone(lab, home, monkeypatch, zone):
    try:
        with monkeypatch.context() as there:
            there.setenv("TZ", zone)
            time.tzset()
            write_profile(home, refresh_token="Rg1", access_token="Ag1", expires_at_seconds=in_an_hour())
            ask()
            write_profile(home, refresh_token="Rg1", access_token="Ag1", expires_at_seconds=int(time.time()) - 3600)
            ask()
    finally:
        time.tzset()
    assert len(lab.emulator.requests("POST /v2/oauth2/token")) == 1


@pytest.mark.parametrize("expiry", [None, 0, "missing"])
def test_a_profile_without_a_valid_token_is_refreshed_and_kept_for_one(lab, home, expiry):
    fields = {} if expiry == "missing" else {"expires_at_seconds": expiry}
    write_profile(home, refresh_token="Rg1", **fields)
    ask()
    found = load_client_params("globus.default")
    assert (found.refresh_token, found.GLOBUS_CLIENT_ID) == ("Rg1", NATIVE)
    assert found.access_token.startswith("Ag")
    assert found.expires_at_seconds > time.time() + 3600
    assert load_client_params("aws.default").a == 1


@pytest.mark.parametrize(("reply", "kept"), [("omit", "Rg1"), ("same", "Rg1"), ("rotate", None)])
def test_the_refresh_token_survives_two_refreshes(lab, home, reply, kept):
    lab.emulator.tokens(refresh_reply=reply)
    write_profile(home, refresh_token="Rg1", expires_at_seconds=0)
    service = connect({}, Pace())
    for _ in range(2):
        service.submission_id()
        lab.emulator.tokens(expire=True)
    assert service.submission_id()
    assert stored(home)["refresh_token"]
    assert kept in (None, stored(home)["refresh_token"])


def test_a_token_that_does_not_say_how_long_it_lives_is_used_until_it_is_refused(lab, home):
    reply = {"access_token": lab.emulator.access_token(client=NATIVE), "token_type": "Bearer"}
    scope = {"scope": TRANSFER_SCOPE, "resource_server": "transfer.api.globus.org", "other_tokens": []}
    lab.emulator.http_fault("POST /v2/oauth2/token", status=200, body={**reply, **scope}, times=None)
    write_profile(home, refresh_token="Rg1", expires_at_seconds=0)
    service = connect({}, Pace())
    for _ in range(3):
        service.submission_id()
    assert len(lab.emulator.requests("POST /v2/oauth2/token")) == 1
    assert stored(home)["refresh_token"] == "Rg1"


@pytest.mark.parametrize("reply", [{}, {"access_token": "x"}, {"error": 5}])
def test_a_reply_that_is_no_token_is_told_and_nothing_is_stored(lab, home, reply):
    lab.emulator.http_fault("POST /v2/oauth2/token", status=200, body=reply, times=None)
    write_profile(home, refresh_token="Rg1", expires_at_seconds=0)
    before = stored(home)
    assert code_of(connect({}, lab.pace).submission_id).code == "protocol"
    assert stored(home) == before


def test_a_refused_token_is_refreshed_once_for_all_threads(lab, home):
    write_profile(home, refresh_token="Rg1", access_token="refused", expires_at_seconds=in_an_hour())
    service = connect({}, Pace())
    together(8, service.submission_id)
    assert len(lab.emulator.requests("POST /v2/oauth2/token")) == 1


def together(count, call):
    gate = threading.Barrier(count)
    failures = []

    def run():
        gate.wait()
        try:
            call()
        except DownloadError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def child(environment, gate):
    os.environ.update(environment)
    gate.wait()
    together(8, connect({}, Pace()).submission_id)


def test_an_expired_token_is_refreshed_once_for_all_processes(lab, home):
    lab.emulator.tokens(refresh_reply="rotate")
    write_profile(home, refresh_token="Rg1", access_token="Ag0", expires_at_seconds=10)
    gate = FORKS.Barrier(4)
    environment = {**lab.emulator.environment, "HOME": str(home)}
    children = [FORKS.Process(target=child, args=(environment, gate)) for _ in range(4)]
    for process in children:
        process.start()
    for process in children:
        process.join()
    assert [process.exitcode for process in children] == [0] * 4
    assert len(lab.emulator.requests("POST /v2/oauth2/token")) == 1
    assert stored(home)["refresh_token"] not in ("Rg1", None)
    assert load_client_params("globus.default").refresh_token == stored(home)["refresh_token"]
    assert load_client_params("aws.default").a == 1


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"refresh_token": "revoked"}, "globus-login", "invalid_grant"),
        ({"refresh_token": None, "access_token": "Ag1", "expires_at_seconds": 5}, "globus-login", "globus.default"),
        ({"refresh_token": "Rg1", "GLOBUS_CLIENT_ID": None}, "not-configured", "GLOBUS_CLIENT_ID"),
    ],
)
def test_a_login_that_is_worth_nothing_says_what_to_do(home, fields, code, words):
    write_profile(home, **fields)
    failure = code_of(ask)
    assert failure.code == code
    assert words in failure.reason
    assert "prefect-alyx setup" in failure.next_step


def test_no_profile_at_all_is_not_configured(home):
    failure = code_of(ask)
    assert failure.code == "not-configured"
    assert str(home) in failure.reason


def test_another_profile_is_used_when_named(lab, home):
    write_profile(home)
    store.merge_profile("globus", "admin", {"GLOBUS_CLIENT_ID": NATIVE, "refresh_token": "Rg1"})
    assert ask({"profile": "admin"})
    assert "refresh_token" not in stored(home)


def test_an_outage_of_the_token_endpoint_is_waited_for(lab, home):
    write_profile(home, refresh_token="Rg1", expires_at_seconds=0)
    lab.emulator.http_fault("POST /v2/oauth2/token", status=503, times=2)
    assert connect({}, lab.pace).submission_id()
    assert len(lab.pace.waits) == 2


# --- service accounts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["environment", "params", "block"])
def test_a_service_account_needs_no_profile(lab, home, monkeypatch, where):
    if where == "environment":
        monkeypatch.setenv("GLOBUS_CLIENT_ID", lab.STORE)
        monkeypatch.setenv("GLOBUS_CLIENT_SECRET", SECRET)
    secret = SecretStr(SECRET) if where == "block" else SECRET
    params = {} if where == "environment" else {"client_id": lab.STORE, "client_secret": secret}
    service = connect(params, Pace())
    assert service.submission_id()
    assert service.submission_id()
    assert len(lab.emulator.requests("POST /v2/oauth2/token")) == 1
    assert not (home / ".globus").exists()


def test_half_a_service_account_and_a_wrong_secret_are_told_apart(lab, home, monkeypatch):
    monkeypatch.delenv("GLOBUS_CLIENT_ID", raising=False)
    monkeypatch.setenv("GLOBUS_CLIENT_SECRET", "wrong")
    assert code_of(ask).code == "not-configured"
    monkeypatch.setenv("GLOBUS_CLIENT_ID", lab.STORE)
    failure = code_of(ask)
    assert (failure.code, failure.verdict) == ("globus-login", Verdict.STOP_RUN)
    assert "wrong" not in str(failure)


def test_a_service_account_gives_the_consent_that_a_mapped_collection_asks_for(lab, home):
    lab.emulator.endpoint(lab.STORE, entity_type="GCSv5_mapped_collection", data_access=True)
    service = connect({"client_id": lab.STORE, "client_secret": SECRET}, Pace())
    item = lab.write("a.npy")
    document = {
        "source_endpoint": service.endpoint(lab.STORE)["id"],
        "destination_endpoint": lab.LOCAL,
        "submission_id": service.submission_id(),
        "DATA": [{"source_path": f"/{item.key}", "destination_path": str(lab.root / "a.npy")}],
    }
    assert service.submit(document)


# --- errors as people see them ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (403, {"code": "ConsentRequired", "required_scopes": ["urn:all[*data]"]}, "globus-consent", "urn:all[*data]"),
        (
            403,
            {
                "code": "PermissionDenied.Session",
                "authorization_parameters": {
                    "session_message": "Log in with your lab",
                    "session_required_single_domain": ["lab.example"],
                },
            },
            "globus-session",
            "lab.example",
        ),
        (502, {"code": "ExternalError.DirListingFailed.LoginFailed"}, "globus-session", "LoginFailed"),
        (403, {"code": "PermissionDenied"}, "globus-forbidden", "PermissionDenied"),
        (404, {"code": "EndpointNotFound"}, "globus-no-endpoint", "EndpointNotFound"),
        (409, {"code": "TooManyPendingJobs"}, "globus-busy", "TooManyPendingJobs"),
        (502, {"code": "ExternalError.DirListingFailed.GCDisconnected"}, "globus-offline", "GCDisconnected"),
        (500, {}, "server-error", "500"),
        (400, {"code": "BadRequest", "message": "no such\nfield"}, "bad-request", "no such."),
    ],
)
def test_an_error_document_becomes_one_message_with_a_next_step(lab, home, status, body, code, words):
    lab.emulator.http_fault("GET /v0.10/submission_id", status=status, body={"message": "m", **body}, times=None)
    write_profile(home, refresh_token="Rg1", access_token="Ag1", expires_at_seconds=in_an_hour())
    failure = code_of(connect({}, lab.pace).submission_id)
    assert failure.code == code
    assert words in failure.reason
    assert failure.next_step


def test_a_service_that_is_not_there_is_a_connection_error(lab, home, monkeypatch):
    monkeypatch.setenv("GLOBUS_SDK_SERVICE_URL_TRANSFER", "http://127.0.0.1:9/")
    write_profile(home, refresh_token="Rg1", access_token="Ag1", expires_at_seconds=in_an_hour())
    assert code_of(connect({}, lab.pace).submission_id).code == "connect"


# --- people --------------------------------------------------------------------------------------------------


class Person(io.StringIO):
    """Somebody who answers the questions in order, and then pastes the code of the page that is shown."""

    def __init__(self, screen, answers):
        super().__init__()
        self.screen = screen
        self.answers = [*answers]
        self.page = ""

    def isatty(self):
        return True

    def readline(self, *_):
        if self.answers:
            return self.answers.pop(0) + "\n"
        self.page = re.findall(r"http://\S+authorize\S+", self.screen.getvalue())[-1]
        return re.search("<code>(.*)</code>", requests.get(self.page, timeout=10).text)[1] + "\n"


def at_terminal(monkeypatch, *answers):
    screen = io.StringIO()
    person = Person(screen, answers)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stdin", person)
    return person


def test_a_person_at_a_terminal_is_asked_and_logged_in(lab, home, monkeypatch):
    person = at_terminal(monkeypatch, NATIVE, lab.LOCAL, str(lab.root), "", lab.STORE)
    fields = GlobusClient.setup()
    assert fields["refresh_token"].startswith("Rg")
    assert stored(home) == fields
    assert f"scopes%2F{lab.STORE}%2Fdata_access" in person.page
    assert "prompt=login" in person.page
    assert ask()
    assert sys.stdout.getvalue() == ""


def test_a_wrong_code_is_told_and_the_profile_stays(home, monkeypatch):
    write_profile(home)
    at_terminal(monkeypatch, "", "", "", "", "", "not the code")
    assert code_of(GlobusClient.setup).code == "globus-login"
    assert "refresh_token" not in stored(home)


def test_without_a_terminal_the_profile_is_written_and_the_login_is_missed_where_it_is_needed(
    home, monkeypatch, caplog
):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    fields = GlobusClient.setup(GLOBUS_CLIENT_ID=NATIVE, local_endpoint=NATIVE, local_path=str(home))
    assert stored(home) == fields
    assert fields["GLOBUS_CLIENT_ID"] == NATIVE
    assert "Nobody is logged in to Globus yet" in caplog.text
    assert code_of(ask).code in ("globus-login", "not-configured")


def test_without_a_terminal_what_is_missing_is_named_and_nothing_is_written(home, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(DownloadError, match="misses GLOBUS_CLIENT_ID"):
        GlobusClient.setup(local_path=str(home))
    assert not (home / ".one" / ".remote").exists()


def test_a_service_account_of_the_environment_needs_neither_a_login_nor_a_client_id(home, monkeypatch, caplog):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setenv("GLOBUS_CLIENT_ID", NATIVE)
    monkeypatch.setenv("GLOBUS_CLIENT_SECRET", SECRET)
    GlobusClient.setup(local_endpoint=NATIVE, local_path=str(home))
    assert (stored(home)["local_endpoint"], stored(home)["local_path"]) == (NATIVE, str(home))
    assert SECRET not in (home / ".one" / ".remote").read_text()
    assert not caplog.text


def test_a_script_may_bring_its_refresh_token(lab, home, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    GlobusClient.setup(GLOBUS_CLIENT_ID=NATIVE, refresh_token="Rg1", local_path=str(home))
    assert (stored(home)["refresh_token"], stored(home)["local_path"]) == ("Rg1", str(home))
    assert ask()


def test_what_is_no_uuid_is_refused(home, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(DownloadError, match="'not one', which is no UUID"):
        GlobusClient.setup(GLOBUS_CLIENT_ID="not one", refresh_token="Rg1")


def test_a_logout_revokes_and_forgets(lab, home):
    write_profile(home, refresh_token="Rg1", access_token="Ag1", expires_at_seconds=in_an_hour())
    GlobusClient.logout()
    left = load_client_params("globus.default")
    assert (left.refresh_token, left.access_token, left.expires_at_seconds) == (None, None, 0)
    with pytest.raises(globus_sdk.AuthAPIError):
        globus_sdk.NativeAppAuthClient(NATIVE).oauth2_refresh_token("Rg1")
    assert code_of(ask).code == "globus-login"


def test_a_logout_that_fails_can_be_tried_again(lab, home):
    write_profile(home, refresh_token="Rg1", access_token="Ag1", expires_at_seconds=in_an_hour())
    lab.emulator.http_fault("POST /v2/oauth2/token/revoke", "drop_before")
    assert code_of(GlobusClient.logout).code == "connect"
    assert stored(home)["refresh_token"] == "Rg1"


def test_nothing_of_a_login_shows(home):
    write_profile(home, refresh_token="Rg1", access_token="Ag1", expires_at_seconds=in_an_hour())
    login = StoredLogin("default", Pace())
    login.get_authorization_header()
    assert "Ag1" not in repr(login) + repr(vars(GlobusClient({})))
