"""Setting a profile up: from a script, without a terminal, and at a real one."""

import json
import os
import pty
import stat
import sys
import uuid
from pathlib import Path

import pytest
from one.remote.base import load_client_params as one_load

from tasks.clients import store
from tasks.clients.profiles import Field, setup
from tasks.clients.verdicts import DownloadError

WANTED = [
    Field("zone", "Zone"),
    Field("gateway_url", "Gateway", default="https://gateway.example.org"),
    Field("api_key", "API key", secret=True, optional=True),
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(params=[None, "closed", "not a terminal"])
def headless(request, monkeypatch, tmp_path):
    stdin = None if request.param is None else Path(os.devnull).open()  # noqa: SIM115  (closed below, or it is the point)
    if request.param == "closed":
        stdin.close()
    monkeypatch.setattr(sys, "stdin", stdin)
    yield
    if stdin:
        stdin.close()


def test_given_fields_defaults_and_nulls_are_written_and_one_reads_them(headless):
    written = setup("kachery", "default", WANTED, {"zone": "lab", "api_key": None})
    assert written == {"zone": "lab", "gateway_url": "https://gateway.example.org", "api_key": None}
    assert one_load("kachary.default").as_dict() == written
    assert stat.S_IMODE(store.path().stat().st_mode) == 0o600


def test_a_second_setup_changes_what_is_given_and_keeps_the_rest(headless):
    store.merge_profile("kachery", "lab", {"zone": "a", "gateway_url": "http://g", "access_token": "t"})
    written = setup("kachery", "lab", WANTED, {"api_key": "k"})
    assert written == {"zone": "a", "gateway_url": "http://g", "access_token": "t", "api_key": "k"}


@pytest.mark.parametrize("given", [{}, {"zone": None}, {"zone": ""}])
def test_without_a_terminal_what_is_missing_is_a_clear_error_and_nobody_is_asked(headless, home, given):
    with pytest.raises(
        DownloadError, match=r"kachery\.default misses zone: run `prefect-alyx setup kachery`"
    ) as raised:
        setup("kachery", "default", WANTED, given)
    assert raised.value.code == "not-configured"
    assert not (home / ".one").exists()


def test_a_field_that_nobody_wants_is_refused(headless, home):
    with pytest.raises(DownloadError, match="no field zoon; it has zone, gateway_url, api_key") as raised:
        setup("kachery", "default", WANTED, {"zoon": "lab"})
    assert raised.value.code == "bad-params"
    assert not (home / ".one").exists()


@pytest.mark.parametrize("profile", ["my-lab", "", "a.b"])
def test_a_profile_that_one_could_not_read_is_refused(headless, home, profile):
    with pytest.raises(DownloadError, match="read back"):
        setup("kachery", profile, WANTED, {"zone": "lab"})
    assert not (home / ".one" / ".remote").exists()


def test_paths_and_uuids_are_stored_as_text(headless):
    endpoint = uuid.uuid4()
    fields = [Field("local_endpoint", "Endpoint"), Field("local_path", "Path")]
    written = setup("globus", "default", fields, {"local_endpoint": endpoint, "local_path": Path("/data")})
    assert written == {"local_endpoint": str(endpoint), "local_path": "/data"}


def test_a_value_that_is_not_json_is_refused(headless):
    with pytest.raises(DownloadError, match="not JSON serializable"):
        setup("kachery", "default", WANTED, {"zone": object()})


# --- at a terminal --------------------------------------------------------------------------------------------------

AT_TERMINAL = """
import json
from tests.test_profiles import WANTED
from tasks.clients.profiles import setup
from tasks.clients.verdicts import DownloadError
try:
    print(json.dumps(setup("kachery", "default", WANTED, GIVEN)))
except DownloadError as failure:
    print(json.dumps(failure.code))
"""


def at_terminal(tmp_path, given, *answers):
    """Answer the questions at a pseudo-terminal; return what it shows, and what standard output gets."""
    output = tmp_path / "stdout"
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(Path(__file__).parents[1])
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
        os.execv(sys.executable, [sys.executable, "-c", AT_TERMINAL.replace("GIVEN", repr(given))])  # noqa: S606
    shown, to_say = "", list(answers)
    while heard := _hear(terminal):
        shown += heard
        if shown.endswith(": "):
            os.write(terminal, to_say.pop(0).encode())
    os.close(terminal)
    os.waitpid(child, 0)
    assert not to_say
    return shown, json.loads(output.read_text())


def _hear(terminal):
    try:
        return os.read(terminal, 4096).decode()
    except OSError:  # how Linux says that nobody is there any more
        return ""


def test_a_human_is_asked_for_what_is_not_given_and_secrets_stay_unseen(tmp_path):
    shown, written = at_terminal(tmp_path, {}, "lab\n", "\n", "s3cret\n")
    assert written == {"zone": "lab", "gateway_url": "https://gateway.example.org", "api_key": "s3cret"}
    assert shown.index("Zone: ") < shown.index("Gateway [https://gateway.example.org]: ") < shown.index("API key: ")
    assert "s3cret" not in shown
    assert one_load("kachary.default").as_dict() == written


def test_a_human_keeps_what_is_stored_by_an_empty_answer(tmp_path):
    stored = {"zone": "lab", "gateway_url": "http://g", "api_key": "s3cret"}
    store.merge_profile("kachery", "default", stored)
    shown, written = at_terminal(tmp_path, {"gateway_url": "http://h"}, "\n", "\n")
    assert written == {**stored, "gateway_url": "http://h"}
    assert "Zone [lab]: " in shown
    assert "API key [keep]: " in shown
    assert "Gateway" not in shown
    assert "s3cret" not in shown


def test_a_human_who_answers_nothing_gets_the_same_error(tmp_path):
    end_of_input = "\x04"
    _, code = at_terminal(tmp_path, {}, end_of_input, end_of_input, end_of_input)
    assert code == "not-configured"
    assert not store.path().exists()
