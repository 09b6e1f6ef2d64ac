"""Whatever a person gets wrong: one message with a next step, the right exit code, nothing begun and nothing lost."""

from __future__ import annotations

import re
import shutil
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deployments.sandbox.lab import Lab
from tasks.clients.seams import Pace
from tasks.ledger import Ledger
from tests.loopback import Reply, serve
from tests.mounts import tmpfs

NOBODY = "11111111-1111-4111-8111-111111111111"
USAGE, TEMPORARY, STOPPED = 2, 5, 7


@pytest.fixture(scope="module")
def running():
    with Lab() as lab:
        yield lab


@pytest.fixture
def lab(running, monkeypatch):
    """A lab that this process is set up for, and no wait between two attempts."""
    running.reset()
    for name in ("AWS_PROFILE", "ALYX_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Pace, "uniform", lambda _self, low, _high: low)
    return running


@pytest.fixture
def nobody(lab, tmp_path, monkeypatch):
    """The home of an account for which nothing is set up; the environment still names Alyx and a login."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".one").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


@pytest.fixture(params=["plan", "fetch"])
def verb(request, monkeypatch):
    """Both verbs say the same; neither starts a Prefect server for a run that cannot begin."""
    import flows.fetching

    monkeypatch.setattr(flows.fetching, "prefect_api", lambda _: pytest.fail("a run begins"))
    return request.param


def told(done, code, *words):
    """Assert that a command ended in one message: what is wrong, then a next step on a line of its own."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err
    message = done.err[done.err.index("prefect-alyx: ") :]
    reason, step = message.split("\n  -> ")
    assert re.search(r" \[[a-z-]+\]$", reason), message
    assert len(step.strip()) > 10
    assert all(len(line) <= 80 or " " not in line.strip() for line in message.splitlines()), message
    for word in words:
        assert word in unwrapped(done.err)


def unwrapped(text):
    """What is said, without the ends of lines that 80 columns need."""
    return re.sub(r"\s+", " ", text)


def nothing_begun(done, root, code, *words):
    told(done, code, *words)
    assert done.out == ""
    assert not root.exists()


# --- what is selected ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selected", "words"),
    [
        (["--session", NOBODY], ["no such record", NOBODY]),
        (["--dataset", NOBODY], ["no such record", NOBODY]),
        (["--session", "abc"], ["session_ids", "'abc' is no id"]),
        (["--lab", "cortexlap"], ["labs: Alyx has no 'cortexlap' (did you mean 'cortexlab'?)"]),
        (["--subject", "KS05"], ["subjects: Alyx has no 'KS05' (did you mean 'KS005'?)"]),
        (["--tag", "2024_Q3"], ["tags: Alyx has no '2024_Q3'", "Sandbox_et_al"]),
        (["--lab", "cortexlab", "--repository", "aws_cortex"], ["did you mean 'aws_cortexlab'?"]),
        (["--lab", "cortexlab", "--protocol", "htpp"], ["'htpp' is not known (did you mean 'http'?)"]),
        (["--lab", "cortexlab", "--dates", "yesterday"], ["dates.0: 'yesterday' is no date"]),
        (["--lab", "cortexlab", "--max-size", "5 foo"], ["max_size"]),
        ([], ["it would select everything"]),
        (["--qc-at-most", "FAIL"], ["it would select everything"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_selection_that_names_what_is_not_there(verb, command, lab, root, selected, words):
    nothing_begun(command(verb, *selected, "--root", root), root, USAGE, *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"labs: [cortexlab\n", ["line 2: expected ',' or ']'"]),
        (b"labs: cortexlab\nlabs: churchlandlab\n", ["line 1: 'labs' is given twice"]),
        (b"lab: cortexlab\n", ["there is no field 'lab' (did you mean 'labs'?)"]),
        (b"- cortexlab\n", ["holds no fields"]),
        (b"", ["holds no fields"]),
        (b"\xff\xfe\x00", ["cannot be read"]),
        (b"labs: \x00\n", ["cannot be read"]),
        (b"session_ids: 7\n", ["session_ids"]),
    ],
)
def test_a_selection_file_that_is_none(verb, command, lab, root, tmp_path, content, words):
    file = tmp_path / "mirror.yaml"
    file.write_bytes(content)
    nothing_begun(command(verb, "--selection", file, "--root", root), root, USAGE, "mirror.yaml", *words)
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--selection", "/nowhere/mirror.yaml"], ["'/nowhere/mirror.yaml' does not exist", "plan --help"]),
        (["plan", "--labb", "x"], ["No such option '--labb'", "'--lab'", "plan --help"]),
        (["plan", "cortexlab"], ["unexpected extra argument", "plan --help"]),
        (["fetchh"], ["No such command 'fetchh'", "--help"]),
        (["fetch", "--root"], ["'--root' requires an argument"]),
    ],
    ids=" ".join,
)
def test_a_command_line_that_is_none(command, arguments, words):
    done = command(*arguments)
    assert (done.code, done.out) == (USAGE, "")
    for word in words:
        assert word in unwrapped(done.err)


def test_a_terminal_that_lacks_letters(command, lab, tmp_path, monkeypatch):
    terminal = TextIOWrapper(BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert command("plan", "--lab", "churchlandlab", "--root", tmp_path / "Größe 日本").code == 0
    terminal.flush()
    assert "Größe \\u65e5\\u672c" in terminal.buffer.getvalue().decode("latin-1")


def test_nothing_that_fits_is_no_error(command, lab, root):
    done = command("plan", "--subject", "KS005", "--dates", "1999-01-01", "--root", root)
    assert done.code == 0
    assert done.out.startswith("0 files to fetch")


# --- who asks --------------------------------------------------------------------------------------------


def test_a_wrong_password(verb, command, lab, root, monkeypatch):
    monkeypatch.setenv("ALYX_PASSWORD", "s3cret-but-wrong")
    done = command(verb, "--lab", "cortexlab", "--root", root)
    nothing_begun(done, root, STOPPED, "refuses the user name or the password", "'alice'", "ALYX_PASSWORD")
    assert "s3cret" not in done.err
    assert lab.requests.count(path="/auth-token") == 1


def test_no_credentials(verb, command, nobody, root, monkeypatch):
    monkeypatch.delenv("ALYX_PASSWORD")
    done = command(verb, "--lab", "cortexlab", "--root", root)
    nothing_begun(done, root, STOPPED, "asks for a login, and none is configured", "ALYX_TOKEN")


def test_a_token_that_has_ended_is_renewed_with_the_password(command, lab, root, monkeypatch):
    monkeypatch.setenv("ALYX_TOKEN", "0" * 40)
    done = command("plan", "--lab", "cortexlab", "--root", root)
    assert done.code == 0, done.err
    assert lab.requests.count(path="/auth-token", status=200) == 1


def test_a_token_that_has_ended_without_a_password(verb, command, nobody, root, monkeypatch):
    monkeypatch.setenv("ALYX_TOKEN", "0" * 40)
    monkeypatch.delenv("ALYX_PASSWORD")
    done = command(verb, "--lab", "cortexlab", "--root", root)
    nothing_begun(done, root, STOPPED, "refuses the token", "ALYX_PASSWORD")
    assert "0" * 40 not in done.err


# --- Alyx itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("http://127.0.0.1:9", TEMPORARY, ["cannot be reached", "Connection refused", "ALYX_URL"]),
        ("http://alyx.invalid", TEMPORARY, ["cannot be reached", "alyx.invalid"]),
        ("not an address", STOPPED, ["no web address", "ALYX_URL"]),
        ("ftp://alyx.example.org", STOPPED, ["no web address", "ALYX_URL"]),
        ("https://ana:s3cret@alyx.example.org", STOPPED, ["holds a user name or a password", "ALYX_PASSWORD"]),
    ],
)
def test_an_alyx_that_is_not_there(verb, command, lab, root, monkeypatch, url, code, words):
    monkeypatch.setenv("ALYX_URL", url)
    done = command(verb, "--lab", "cortexlab", "--root", root)
    nothing_begun(done, root, code, *words)
    assert "s3cret" not in done.err


def test_no_alyx_at_all(verb, command, nobody, root, monkeypatch):
    monkeypatch.delenv("ALYX_URL")
    nothing_begun(command(verb, "--lab", "cortexlab", "--root", root), root, USAGE, "No Alyx server", "ALYX_URL")


def test_another_server_where_alyx_should_be(verb, command, lab, root, monkeypatch):
    monkeypatch.setenv("ALYX_URL", lab.urls["http"])
    done = command(verb, "--lab", "cortexlab", "--root", root)
    nothing_begun(done, root, STOPPED, "not Alyx", "405 Not Allowed", "ALYX_URL")


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        (Reply.page(503, "Down for maintenance"), TEMPORARY, ["503", "Down for maintenance", "Try again later"]),
        (Reply.page(200, "Sign in to the campus network"), STOPPED, ["not Alyx", "Sign in to the campus network"]),
        (Reply.of({"detail": "boom", "status_code": 500}, 500), USAGE, ["500, boom"]),
    ],
)
def test_an_alyx_that_is_unwell(verb, command, lab, root, monkeypatch, reply, code, words):
    with serve(lambda _: reply) as server:
        monkeypatch.setenv("ALYX_URL", server.url)
        monkeypatch.setenv("ALYX_TOKEN", "1" * 40)
        nothing_begun(command(verb, "--lab", "cortexlab", "--root", root), root, code, *words)


# --- ONE's files, settings and profiles ------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"globus": {', "", "[]", '{"http": 7}', '{"aws": {"default": []}}'])
def test_a_corrupt_params_file(verb, command, nobody, root, text):
    file = nobody / ".one" / ".remote"
    file.write_text(text)
    done = command(verb, "--lab", "cortexlab", "--root", root)
    nothing_begun(done, root, STOPPED, str(file), "in an editor")
    assert file.read_text() == text


@pytest.mark.parametrize("name", [".caches", "the host's"])
def test_another_corrupt_file_of_one(verb, command, nobody, lab, root, name):
    shutil.copytree(Path(lab.root, "home", ".one"), nobody / ".one", dirs_exist_ok=True)
    host = "." + lab.urls["alyx"].removeprefix("http://").replace(":", "_")
    file = nobody / ".one" / (name if name == ".caches" else host)
    file.write_text("{")
    done = command(verb, "--lab", "cortexlab", "--root", root)
    nothing_begun(done, root, STOPPED, str(file), "in an editor")
    assert file.read_text() == "{"


@pytest.mark.parametrize(("name", "value"), [("AWS_PROFILE", "nolab"), ("AWS_ENDPOINT_URL_S3", "no address")])
def test_a_profile_that_is_missing(verb, command, lab, root, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    nothing_begun(command(verb, "--lab", "cortexlab", "--root", root), root, STOPPED, value, name)


@pytest.mark.parametrize(("name", "value"), [("RESERVE_BYTES", "lots"), ("CONNECTIONS", "0"), ("STALL_SECONDS", "-1")])
def test_a_setting_that_is_none(verb, command, lab, root, monkeypatch, name, value):
    monkeypatch.setenv(f"PREFECT_INTEGRATIONS_ALYX_{name}", value)
    done = command(verb, "--lab", "cortexlab", "--root", root)
    nothing_begun(done, root, USAGE, "PREFECT_INTEGRATIONS_ALYX_", name.lower(), "Input should be")


# --- where to ----------------------------------------------------------------------------------------------


def test_no_root(verb, command, nobody, root):
    done = command(verb, "--lab", "cortexlab")
    nothing_begun(done, root, USAGE, "where the files go", "--root", "PREFECT_INTEGRATIONS_ALYX_ROOT")


@pytest.mark.parametrize("below", ["", "data", "deep/er/data"])
def test_a_root_below_a_file(verb, command, lab, tmp_path, below):
    file = tmp_path / "file"
    file.write_text("mine")
    told(command(verb, "--lab", "cortexlab", "--root", file / below), STOPPED, str(file), "no directory", "--root")
    assert file.read_text() == "mine"


def test_a_file_where_ours_belongs(command, lab, root, monkeypatch):
    root.mkdir()
    (root / ".prefect-alyx").write_text("mine")
    done = command("fetch", "--lab", "cortexlab", "--root", root)
    told(done, STOPPED, str(root / ".prefect-alyx"))
    assert (root / ".prefect-alyx").read_text() == "mine"


@pytest.fixture
def read_only(tmp_path):
    """A mount that cannot be written, by root either."""
    with tmpfs(tmp_path / "mount", "ro,size=1m") as place:
        yield place


@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_root_that_cannot_be_written(verb, command, lab, read_only, monkeypatch, below):
    monkeypatch.setenv("PREFECT_INTEGRATIONS_ALYX_RESERVE_BYTES", "0")
    told(command(verb, "--lab", "cortexlab", "--root", read_only / below), STOPPED, str(read_only), "cannot be written")


def test_a_disk_that_is_too_small(verb, command, lab, root, monkeypatch):
    monkeypatch.setenv("PREFECT_INTEGRATIONS_ALYX_RESERVE_BYTES", str(10**18))
    done = command(verb, "--lab", "cortexlab", "--root", root)
    told(done, STOPPED, "The disk is too small", "1,000 PB are needed", "--max-size")
    assert ("it does NOT fit" in done.out) == (verb == "plan")
    assert not root.exists()


def test_a_name_that_no_file_system_has(verb, command, lab, tmp_path):
    done = command(verb, "--lab", "cortexlab", "--root", tmp_path / ("x" * 300))
    told(done, USAGE, "cannot hold this name")


# --- Prefect -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9/api", ["http://127.0.0.1:9/api", "Connection refused"]),
        ("http://ana:s3cret@127.0.0.1:9/api", ["http://127.0.0.1:9/api", "Connection refused"]),
        ("nonsense", ["nonsense: ", "missing an 'http://'"]),
        ("{http}/api", ["404 Not Found"]),
    ],
)
def test_a_prefect_api_that_is_not_there(command, lab, root, url, words):
    with temporary_settings(updates={PREFECT_API_URL: url.format(**lab.urls)}):
        done = command("fetch", "--lab", "cortexlab", "--root", root)
    told(done, TEMPORARY, "Prefect API cannot be used", "PREFECT_API_URL", *words)
    assert "s3cret" not in done.err
    assert lab.requests.count(server="s3") == lab.requests.count(server="http", method="GET", status=200) == 0


@pytest.mark.parametrize("status", [401, 403])
def test_a_prefect_api_that_refuses(command, lab, root, status):
    refusal = Reply.of({"detail": "Unauthorized"}, status)
    with serve(lambda _: refusal) as server, temporary_settings(updates={PREFECT_API_URL: f"{server.url}/api"}):
        done = command("fetch", "--lab", "cortexlab", "--root", root)
    told(done, STOPPED, "refuses this client", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")


def test_a_home_of_prefect_that_cannot_be_used(command, lab, root, tmp_path):
    (tmp_path / "file").write_text("mine")
    with temporary_settings(updates={PREFECT_HOME: tmp_path / "file"}):
        done = command("fetch", "--lab", "cortexlab", "--root", root)
    told(done, TEMPORARY, "local Prefect server does not come up", str(tmp_path / "file"), "PREFECT_API_URL")


# --- a run before -------------------------------------------------------------------------------------------


def test_a_ledger_that_is_damaged(verb, command, lab, root):
    (root / ".prefect-alyx").mkdir(parents=True)
    (root / ".prefect-alyx" / "ledger.db").write_bytes(b"no database" * 1000)
    done = command(verb, "--lab", "cortexlab", "--root", root)
    told(done, STOPPED, "ledger is damaged", "ledger.db")
    assert (root / ".prefect-alyx" / "ledger.db").read_bytes() == b"no database" * 1000


def test_nothing_failed_before(command, lab, root):
    Ledger.open(root).close()
    done = command("retry", "--json", "--root", root)
    assert done.code == 0
    assert done.err == "No file failed before.\n"
    assert done.out.startswith('{"summary": {"files": 0, "bytes": 0,')


def test_nothing_was_downloaded_to_a_root_that_is_mistyped_or_not_mounted(command, lab, root):
    told(command("retry", "--json", "--root", root), STOPPED, "Nothing was downloaded there yet", "mounted")
    assert not root.exists()
