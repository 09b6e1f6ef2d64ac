"""`prefect-alyx setup`: what it writes, whom it asks, what it never stores nor shows."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from deployments.sandbox import Lab
from deployments.sandbox.alyx.database import USER
from deployments.sandbox.lab import PASSWORD
from flows import cli as command
from flows.cli import cli
from tasks.alyx import AlyxClient
from tasks.clients import client_class, one_files, store
from tasks.clients.verdicts import DownloadError, Verdict

SERVER = "https://data.example.org/public"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ALYX_URL", "ALYX_LOGIN", "ALYX_PASSWORD", "ALYX_TOKEN", "GLOBUS_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def lab():
    with Lab() as running:
        yield running


def run(*arguments, typed=""):
    """Run the verb with something on standard input, which is no terminal."""
    return CliRunner().invoke(cli, ["setup", *arguments], input=typed)


def stored():
    return json.loads(store.path().read_text())


def test_a_protocol_is_written_as_its_client_writes_it():
    done = run("http", "--set", f"HTTP_DATA_SERVER={SERVER}", "--set", "HTTP_DATA_SERVER_LOGIN=ana")
    assert done.exit_code == 0, done.output
    profile = {"HTTP_DATA_SERVER": SERVER, "HTTP_DATA_SERVER_LOGIN": "ana", "HTTP_DATA_SERVER_PWD": None}
    assert stored() == {"http": {"default": profile}}
    assert store.path().stat().st_mode & 0o777 == 0o600
    assert done.stdout == ""
    assert "http.default" in done.stderr


def test_another_profile_and_the_other_spelling_of_kachery():
    assert run("kachery", "--profile", "lab", "--set", "zone=ours").exit_code == 0
    assert stored()["kachary"]["lab"]["zone"] == "ours"


def test_a_secret_comes_over_standard_input_and_is_not_shown():
    given = ("--set", f"HTTP_DATA_SERVER={SERVER}", "--set", "HTTP_DATA_SERVER_LOGIN=ana")
    done = run("http", *given, "--set", "HTTP_DATA_SERVER_PWD=-", typed="pass word=1\n")
    assert stored()["http"]["default"]["HTTP_DATA_SERVER_PWD"] == "pass word=1"
    assert "pass word=1" not in done.output
    assert "command line" not in done.stderr


def test_a_secret_on_the_command_line_is_warned_of_but_not_repeated():
    done = run("http", "--set", f"HTTP_DATA_SERVER={SERVER}", "--set", "HTTP_DATA_SERVER_PWD=hunter2")
    assert done.exit_code == 0
    assert "HTTP_DATA_SERVER_PWD was on the command line" in done.stderr
    assert "hunter2" not in done.output


def test_several_secrets_are_lines_of_standard_input():
    run("kachery", "--set", "api_key=-", "--set", "client_key=-", typed="first\nsecond\n")
    assert stored()["kachary"]["default"]["api_key"] == "first"
    assert stored()["kachary"]["default"]["client_key"] == "second"


def main(monkeypatch, capsys, *arguments):
    """Run the whole command, as a shell does; its exit code and what it says."""
    monkeypatch.setattr(sys, "argv", ["prefect-alyx", "setup", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(SystemExit) as ended:
        command.main()
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("protocol", "missing"),
    [("http", "HTTP_DATA_SERVER"), ("globus", "GLOBUS_CLIENT_ID"), ("alyx", "ALYX_URL, ALYX_LOGIN, ALYX_PASSWORD")],
)
def test_without_a_terminal_what_is_missing_stops(protocol, missing, monkeypatch, capsys):
    code, said = main(monkeypatch, capsys, protocol)
    assert code == 7
    assert missing in said
    assert f"prefect-alyx setup {protocol}" in said
    assert not store.path().exists()


def test_an_unknown_field_is_named_with_those_that_there_are(monkeypatch, capsys):
    code, said = main(monkeypatch, capsys, "http", "--set", "PASSWORT=x")
    assert code == 2
    assert "PASSWORT" in said
    assert "HTTP_DATA_SERVER_PWD" in said


@pytest.mark.parametrize("arguments", [("ftp",), ("http", "--set", "HTTP_DATA_SERVER"), ("alyx", "--profile", "lab")])
def test_misuse(arguments):
    assert run(*arguments).exit_code == 2
    assert not store.path().exists()


def test_the_pair_that_is_no_pair_is_not_repeated_beyond_its_name():
    assert "NAME=VALUE" in run("http", "--set", "HTTP_DATA_SERVER").output


# --- alyx -----------------------------------------------------------------------------------------------------------


def log_in(lab, monkeypatch, *arguments, password=PASSWORD):
    monkeypatch.setenv("ALYX_PASSWORD", password)
    return run("alyx", "--set", f"ALYX_URL={lab.urls['alyx']}/", "--set", f"ALYX_LOGIN={USER}", *arguments)


def test_alyx_is_written_as_one_has_it_and_the_password_nowhere(lab, home, monkeypatch):
    done = log_in(lab, monkeypatch)
    assert done.exit_code == 0, done.output
    url = lab.urls["alyx"]
    params = one_files.host_params(url)
    assert (params["ALYX_URL"], params["ALYX_LOGIN"]) == (url, USER)
    assert one_files.token(url, USER)
    assert one_files.default_host() == url
    for file in Path(home, ".one").iterdir():
        assert PASSWORD not in file.read_text()
        assert file.stat().st_mode & 0o077 == 0
    assert PASSWORD not in done.output
    assert one_files.token(url, USER) not in done.output


def test_the_stored_token_is_all_that_the_next_command_needs(lab, monkeypatch):
    log_in(lab, monkeypatch)
    monkeypatch.delenv("ALYX_PASSWORD")
    alyx = AlyxClient()
    assert (alyx.url, alyx.credentials.user, alyx.credentials.password.get_secret_value()) == (
        lab.urls["alyx"],
        USER,
        "",
    )
    assert alyx.rest("labs", "list")


def test_one_itself_goes_on_with_it(lab, monkeypatch):
    from one.webclient import AlyxClient as OneClient

    log_in(lab, monkeypatch)
    theirs = OneClient(base_url=lab.urls["alyx"], silent=True)
    theirs.authenticate()  # no password is known, and silent asks for none
    assert theirs.is_logged_in
    assert theirs.user == USER


def converse(arguments, answers):
    """Run the command at a terminal of its own; answer each question once it is asked. Its exit code and its screen."""
    pid, screen = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "flows.cli", *arguments])  # noqa: S606  (our own command)
    seen = b""
    with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
        while chunk := os.read(screen, 1024):
            seen += chunk
            if answers and answers[0][0] in seen:
                os.write(screen, answers.pop(0)[1] + b"\n")
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


def test_at_a_terminal_it_asks_and_the_password_is_not_seen(lab, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    url = lab.urls["alyx"]
    questions = [(b"Address", url.encode()), (b"User name", USER.encode()), (b"Password", PASSWORD.encode())]
    code, screen = converse(["setup", "alyx"], questions)
    assert code == 0, screen
    assert PASSWORD not in screen
    assert one_files.token(url, USER)


def test_a_refused_login_writes_nothing(lab, monkeypatch, home):
    done = log_in(lab, monkeypatch, password="wrong")
    assert isinstance(done.exception, DownloadError)
    assert done.exception.verdict is Verdict.STOP_RUN
    assert "wrong" not in str(done.exception)
    assert not (home / ".one").exists()


def test_the_stored_password_of_another_user_does_not_stay_beside_the_new_login(lab, monkeypatch, home):
    url = lab.urls["alyx"]
    (home / ".one").mkdir()
    file = home / ".one" / f".{one_files.client_key(url)}"
    file.write_text(json.dumps({"ALYX_URL": url, "ALYX_LOGIN": "bob", "ALYX_PWD": "bobs", "HTTP_DATA_SERVER": SERVER}))
    assert log_in(lab, monkeypatch).exit_code == 0
    params = one_files.host_params(url)
    assert params["ALYX_LOGIN"] == USER
    assert "ALYX_PWD" not in params
    assert params["HTTP_DATA_SERVER"] == SERVER


def test_ones_other_default_stays_and_it_is_said(lab, monkeypatch):
    one_files.save_token("https://alyx.example.org", "bob", "0" * 40)
    done = log_in(lab, monkeypatch)
    assert one_files.default_host() == "https://alyx.example.org"
    assert "ALYX_URL" in done.stderr


def test_every_protocol_that_there_is_can_be_set_up():
    (what,) = (one for one in command.setup.params if one.name == "what")
    assert {client_class(name) for name in what.type.choices if name != "alyx"} == {
        client_class(name) for name in ("aws", "http", "globus", "kachary")
    }
