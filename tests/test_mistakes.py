"""The common mistakes, a row each: the real command says what is wrong, with which value, why, and what to do next.

Every message is read as it stands in a pipe: 80 columns, no colour, no traceback, nothing on standard output.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import sqlite3
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deployments.sandbox.full import FullLab
from tasks.clients.seams import Pace
from tasks.ledger import Ledger
from tests.loopback import Reply, serve
from tests.shell import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

USAGE, TEMPORARY, STOPPED = 2, 5, 7
LAB = ("--lab", "cortexlab")
DOCTOR = ("doctor", "--root", "{root}")


@dataclass
class Desk:
    """Where somebody makes a mistake: a lab, a home, a root; and what is undone afterwards."""

    lab: FullLab
    folder: object
    monkeypatch: pytest.MonkeyPatch
    undo: contextlib.ExitStack
    arguments: list = field(default_factory=list)

    @property
    def root(self):
        return self.folder / "data"

    @property
    def home(self):
        return self.folder / "home"

    def set(self, **variables):
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def unset(self, *names):
        for name in names:
            self.monkeypatch.delenv(name, raising=False)

    def no_one(self):
        """An account for which ONE is not set up."""
        (self.home / ".one").mkdir(parents=True)
        self.set(HOME=str(self.home))

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def serves(self, reply, tls=None):
        return self.undo.enter_context(serve(lambda _: reply, tls)).url


@dataclass(frozen=True)
class Mistake:
    """One row.

    Attributes:
        title: What somebody got wrong.
        command: What they typed; `{root}` and `{folder}` are filled in.
        code: The exit code.
        what: What is wrong.
        which: Which value, file or server.
        why: What is known of the reason.
        step: What they can do.
        make: Makes the mistake.
    """

    title: str
    command: tuple
    code: int
    what: str
    which: str
    why: str
    step: str
    make: Callable[[Desk], None] = lambda _: None

    def __str__(self):
        return self.title


def plan(*more, root="{root}"):
    return ("plan", *(more or LAB), "--root", root)


def fetch(*more):
    return ("fetch", *(more or LAB), "--root", "{root}")


# --- how each is made ----------------------------------------------------------------------------------------------


def expired_certificate(desk):
    authority = trustme.CA()
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", not_after=yesterday).configure_cert(context)
    authority.cert_pem.write_to_path(desk.folder / "ca.pem")
    url = desk.serves(Reply.of({}), context)
    desk.set(ALYX_URL=url, REQUESTS_CA_BUNDLE=str(desk.folder / "ca.pem"), ALYX_TOKEN="1" * 40)


def unknown_authority(desk):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    desk.set(ALYX_URL=desk.serves(Reply.of({}), context), ALYX_TOKEN="1" * 40)


def wrong_clock(desk):
    page = Reply.of({}, Date="Mon, 01 Jan 2024 00:00:00 GMT")
    desk.set(ALYX_URL=desk.serves(page), ALYX_TOKEN="1" * 40)


def ended_token(desk):
    desk.no_one()
    desk.unset("ALYX_PASSWORD")
    desk.set(ALYX_TOKEN="0" * 40)


def nobody(desk):
    desk.no_one()
    desk.unset("ALYX_PASSWORD", "ALYX_TOKEN")


def no_alyx(desk):
    desk.no_one()
    desk.unset("ALYX_URL")


def corrupt_params(desk):
    desk.no_one()
    (desk.home / ".one" / ".remote").write_text('{"globus": {')


def open_params(desk):
    (Path.home() / ".one" / ".remote").chmod(0o644)


def held_ledger(desk):
    """Another copy keeps the ledger for itself; this one has the patience of a test."""
    ours = desk.root / ".prefect-alyx"
    ours.mkdir(parents=True, mode=0o700)
    holder = sqlite3.connect(ours / "ledger.db", isolation_level=None)
    desk.undo.callback(holder.close)
    holder.execute("CREATE TABLE mine (x)")
    holder.execute("BEGIN EXCLUSIVE")
    impatient = partial(Ledger.read_only, patience=0.1)
    desk.monkeypatch.setattr(Ledger, "read_only", impatient)


def damaged_ledger(desk):
    (desk.root / ".prefect-alyx").mkdir(parents=True, mode=0o700)
    (desk.root / ".prefect-alyx" / "ledger.db").write_bytes(b"no database" * 1000)


def no_member_login(desk):
    desk.lab.lab.members.clear()


def refused_keys(desk):
    desk.lab.lab.s3.gate.secrets.clear()


def no_globus(desk):
    (Path.home() / ".one" / ".remote").write_text("{}")
    desk.unset("GLOBUS_CLIENT_ID", "GLOBUS_CLIENT_SECRET")


def small_disk(desk):
    desk.set(PREFECT_INTEGRATIONS_ALYX_RESERVE_BYTES=str(10**18))


def no_extra(desk):
    desk.monkeypatch.setattr("flows.cli.find_spec", lambda _: None)
    desk.monkeypatch.setattr("flows.run_options.find_spec", lambda _: None)


MISTAKES = [
    Mistake("no Alyx configured", plan(), USAGE, "No Alyx server is configured", "", "", "Set ALYX_URL", no_alyx),
    Mistake(
        "the address of something else",
        plan(),
        STOPPED,
        "What answers is not Alyx",
        "/auth-token",
        "405 Not Allowed",
        "Check ALYX_URL",
        lambda desk: desk.set(ALYX_URL=desk.lab.lab.urls["http"]),
    ),
    Mistake(
        "an address that is none",
        plan(),
        STOPPED,
        "What answers is not Alyx",
        "not an address",
        "no web address",
        "Check ALYX_URL",
        lambda desk: desk.set(ALYX_URL="not an address"),
    ),
    Mistake(
        "a wrong password",
        plan(),
        STOPPED,
        "refuses the user name or the password",
        "'alice'",
        "Unable to log in with provided credentials",
        "Check ALYX_LOGIN and ALYX_PASSWORD",
        lambda desk: desk.set(ALYX_PASSWORD="wrong"),
    ),
    Mistake(
        "no login", plan(), STOPPED, "asks for a login", "looked in", "none is configured", "Set ALYX_LOGIN", nobody
    ),
    Mistake(
        "an expired token",
        plan(),
        STOPPED,
        "Alyx refuses the token",
        "the environment",
        "Invalid token",
        "Set ALYX_PASSWORD",
        ended_token,
    ),
    Mistake(
        "the VPN is down",
        plan(),
        TEMPORARY,
        "Alyx cannot be reached",
        "http://alyx.invalid",
        "alyx.invalid",
        "the VPN",
        lambda desk: desk.set(ALYX_URL="http://alyx.invalid"),
    ),
    Mistake(
        "the server is off",
        plan(),
        TEMPORARY,
        "Alyx cannot be reached",
        "http://127.0.0.1:9",
        "Connection refused",
        "the VPN",
        lambda desk: desk.set(ALYX_URL="http://127.0.0.1:9"),
    ),
    Mistake(
        "https where http is spoken",
        plan(),
        STOPPED,
        "What answers is not Alyx",
        "https://127.0.0.1",
        "no TLS is spoken there; http:// may be right",
        "Check ALYX_URL",
        lambda desk: desk.set(ALYX_URL=desk.lab.lab.urls["alyx"].replace("http:", "https:")),
    ),
    Mistake(
        "maintenance",
        plan(),
        TEMPORARY,
        "Alyx or the server before it failed",
        "/data-repository",
        "503",
        "Try again later",
        lambda desk: desk.set(ALYX_URL=desk.serves(Reply.page(503, "Down for maintenance")), ALYX_TOKEN="1" * 40),
    ),
    Mistake(
        "an expired certificate",
        plan(),
        STOPPED,
        "certificate cannot be trusted",
        "https://127.0.0.1",
        "certificate has expired",
        "Renew Alyx's certificate",
        expired_certificate,
    ),
    Mistake(
        "a CA that nobody knows",
        plan(),
        STOPPED,
        "certificate cannot be trusted",
        "https://127.0.0.1",
        "unable to get local issuer certificate",
        "REQUESTS_CA_BUNDLE",
        unknown_authority,
    ),
    Mistake(
        "a wrong proxy",
        plan(),
        STOPPED,
        "Something between here and Alyx refuses",
        "http://alyx.example.org",
        "proxy",
        "Check HTTPS_PROXY",
        lambda desk: desk.set(HTTP_PROXY="http://127.0.0.1:9", ALYX_URL="http://alyx.example.org"),
    ),
    Mistake(
        "a typo in a lab",
        plan("--lab", "cortexlap"),
        USAGE,
        "The selection cannot be used",
        "'cortexlap'",
        "Alyx has no",
        "did you mean 'cortexlab'?",
    ),
    Mistake(
        "two labs in one option",
        plan("--lab", "cortexlab,churchlandlab"),
        USAGE,
        "The selection cannot be used",
        "'cortexlab,churchlandlab'",
        "these are several",
        "give each an option of its own",
    ),
    Mistake(
        "an unknown protocol",
        plan(*LAB, "--protocol", "htpp"),
        USAGE,
        "The selection cannot be used",
        "protocols.0",
        "'htpp' is not known",
        "did you mean 'http'?",
    ),
    Mistake(
        "a date range the wrong way round",
        plan(*LAB, "--dates", "2024-03-31..2024-03-01"),
        USAGE,
        "The selection cannot be used",
        "'2024-03-31..2024-03-01'",
        "ends before it begins",
        "Correct what the message names",
    ),
    Mistake(
        "no selection at all",
        ("plan", "--root", "{root}"),
        USAGE,
        "The selection cannot be used",
        "everything",
        "it would select everything",
        "plan --help",
    ),
    Mistake(
        "a misspelt field in a file",
        plan("--selection", "{folder}/mirror.yaml"),
        USAGE,
        "The selection cannot be used",
        "mirror.yaml",
        "there is no field 'lab'",
        "did you mean 'labs'?",
        lambda desk: desk.file("mirror.yaml", "lab: cortexlab\n"),
    ),
    Mistake(
        "a wrong type in a file",
        plan("--selection", "{folder}/mirror.yaml"),
        USAGE,
        "The selection cannot be used",
        "mirror.yaml",
        "regex: Input should be a valid boolean",
        "Correct what the message names",
        lambda desk: desk.file("mirror.yaml", "labs: [cortexlab]\nregex: maybe\n"),
    ),
    Mistake(
        "a file that is no YAML",
        plan("--selection", "{folder}/mirror.yaml"),
        USAGE,
        "The selection cannot be used",
        "line 2",
        "expected",
        "Correct what the message names",
        lambda desk: desk.file("mirror.yaml", "labs: [cortexlab\n"),
    ),
    Mistake(
        "a file that is not there",
        plan("--selection", "{folder}/nowhere.yaml"),
        USAGE,
        "Invalid value for '--selection'",
        "nowhere.yaml",
        "does not exist",
        "`prefect-alyx plan --help`",
    ),
    Mistake(
        "an unknown option",
        ("plan", "--labb", "x"),
        USAGE,
        "No such option",
        "'--labb'",
        "'--lab'",
        "`prefect-alyx plan --help`",
    ),
    Mistake("an unknown verb", ("fetchh",), USAGE, "No such command", "'fetchh'", "fetch", "`prefect-alyx --help`"),
    Mistake(
        "a rate that is none",
        ("fetch", *LAB, "--bwlimit", "08:00,fast"),
        USAGE,
        "Invalid value for '--bwlimit'",
        "'fast'",
        "is no rate",
        "write 512k, 10M or off",
    ),
    Mistake(
        "a setting that is none",
        plan(),
        USAGE,
        "A setting cannot be used",
        "connections",
        "greater than or equal to 1",
        "prefect.toml",
        lambda desk: desk.set(PREFECT_INTEGRATIONS_ALYX_CONNECTIONS="0"),
    ),
    Mistake(
        "no root",
        ("plan", *LAB),
        USAGE,
        "Nobody says where the files go",
        "",
        "",
        "Give `--root`",
        lambda desk: desk.no_one(),
    ),
    Mistake(
        "a root on a drive that is gone",
        plan(root="{folder}/usb"),
        STOPPED,
        "The root is no directory",
        "/usb",
        "leads to /media/ana/usb-disk/data, which is not there",
        "Give another `--root`",
        lambda desk: (desk.folder / "usb").symlink_to("/media/ana/usb-disk/data"),
    ),
    *(
        Mistake(
            f"{verb[0]} of a root that is mistyped",
            (*verb, "--root", "{folder}/nowhere"),
            STOPPED,
            "Nothing was downloaded there yet",
            "/nowhere",
            "is not there",
            "its drive is mounted",
        )
        for verb in (("retry",), ("tables",))
    ),
    Mistake(
        "a drive that is not mounted",
        ("tables", "--root", "{folder}"),
        STOPPED,
        "Nothing was downloaded there yet",
        "/",
        "has no ledger",
        "its drive is mounted",
    ),
    Mistake(
        "a file where the root should be",
        plan(root="{folder}/file"),
        STOPPED,
        "The root is no directory",
        "/file",
        "cannot be made one",
        "Give another `--root`",
        lambda desk: desk.file("file", "mine"),
    ),
    Mistake(
        "no space",
        fetch(),
        STOPPED,
        "The disk is too small",
        "/data",
        "are needed",
        "Free some space",
        small_disk,
    ),
    Mistake(
        "a corrupt params file",
        plan(),
        STOPPED,
        "params",
        "/.one/.remote",
        "",
        "in an editor",
        corrupt_params,
    ),
    Mistake(
        "a params file that cannot be read",
        plan(),
        STOPPED,
        "A params file of ONE cannot be used",
        "/.one/.remote",
        "Is a directory",
        "its owner, its mode",
        lambda desk: (desk.no_one(), (desk.home / ".one" / ".remote").mkdir()),
    ),
    Mistake(
        "a ledger in another kind of database",
        plan(),
        STOPPED,
        "The ledger cannot be used",
        "PREFECT_INTEGRATIONS_ALYX_LEDGER",
        "names oracle",
        "postgresql://user:password@host/database",
        lambda desk: desk.set(PREFECT_INTEGRATIONS_ALYX_LEDGER="oracle://ana:secret@127.0.0.1/ledger"),
    ),
    Mistake(
        "a second copy that keeps the ledger",
        plan(),
        TEMPORARY,
        "Another process holds the ledger",
        "ledger.db",
        "locked",
        "end the process that hangs",
        held_ledger,
    ),
    Mistake(
        "a damaged ledger",
        plan(),
        STOPPED,
        "The ledger is damaged",
        "ledger.db",
        "not a database",
        "Bring it back from a backup",
        damaged_ledger,
    ),
    Mistake(
        "a Prefect API that is not there",
        fetch(),
        TEMPORARY,
        "The Prefect API cannot be used",
        "http://127.0.0.1:9/api",
        "Connection refused",
        "PREFECT_API_URL",
        lambda desk: desk.undo.enter_context(temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"})),
    ),
    Mistake(
        "a Prefect API without /api",
        fetch(),
        TEMPORARY,
        "The Prefect API cannot be used",
        "http://127.0.0.1",
        "404",
        "it ends in /api",
        lambda desk: desk.undo.enter_context(
            temporary_settings({PREFECT_API_URL: desk.serves(Reply(404, b"Not Found"))})
        ),
    ),
    Mistake(
        "a site file that is not there",
        ("deploy", "--site", "{folder}/site.yaml"),
        USAGE,
        "A file of the deployments cannot be used",
        "/site.yaml",
        "No such file or directory",
        "run this in the clone",
    ),
    Mistake(
        "an AWS profile that is not there",
        plan(),
        STOPPED,
        "",
        "nolab",
        "",
        "AWS_PROFILE",
        lambda desk: desk.set(AWS_PROFILE="nolab"),
    ),
    Mistake(
        "tables without their extra",
        ("tables", "--root", "{root}"),
        USAGE,
        "The tables need pyarrow",
        "pyarrow",
        "need",
        "pip install prefect-alyx[tables]",
        no_extra,
    ),
    Mistake(
        "a report without its extra",
        ("retry", "--report", "{folder}/run.html"),
        USAGE,
        "A report needs matplotlib",
        "matplotlib",
        "needs",
        "pip install 'prefect-alyx[report]'",
        no_extra,
    ),
    Mistake(
        "a code that is none",
        ("explain", "alyx-logn"),
        USAGE,
        "There is no error",
        "'alyx-logn'",
        "did you mean 'alyx-login'?",
        "`prefect-alyx explain --help`",
    ),
]

#: What `doctor` finds: the mark, and the same four things.
FOUND = [
    Mistake(
        "a wrong clock",
        DOCTOR,
        STOPPED,
        "FAIL clock",
        "ahead of Alyx's",
        "s ahead",
        "keep the time (NTP)",
        wrong_clock,
    ),
    Mistake(
        "params that others can read",
        DOCTOR,
        0,
        "could be read by others",
        "/.one/.remote",
        "mode 0644",
        "cannot any more",
        open_params,
    ),
    Mistake(
        "a file server's login is missing",
        DOCTOR,
        STOPPED,
        "FAIL http members_cortexlab",
        "members_cortexlab",
        "refuses the credentials",
        "`prefect-alyx setup`",
        no_member_login,
    ),
    Mistake(
        "S3 refuses the keys",
        DOCTOR,
        STOPPED,
        "FAIL aws aws_churchlandlab",
        "aws_churchlandlab",
        "InvalidAccessKeyId",
        "`prefect-alyx setup`",
        refused_keys,
    ),
    Mistake(
        "Globus is not logged in",
        DOCTOR,
        0,
        "note globus",
        "globus",
        "not configured",
        "prefect-alyx setup globus",
        no_globus,
    ),
]


# --- what is said ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running():
    with FullLab() as lab:
        yield lab


@pytest.fixture
def desk(running, monkeypatch, tmp_path):
    running.lab.reset()
    running.globus.clear_faults()
    for name in ("AWS_PROFILE", "ALYX_TOKEN", "REQUESTS_CA_BUNDLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Pace, "uniform", lambda _self, low, _high: low)
    with contextlib.ExitStack() as undo:
        undo.enter_context(temporary_settings({PREFECT_HOME: tmp_path / "prefect", PREFECT_API_URL: None}))
        yield Desk(running, tmp_path, monkeypatch, undo)


def said(mistake, desk, command):
    mistake.make(desk)
    words = [word.format(root=desk.root, folder=desk.folder) for word in map(str, mistake.command)]
    return command(*words)


def readable(text):
    assert "Traceback" not in text
    assert "\x1b" not in text
    assert all(len(line) <= 80 or len(line.split()) < 3 for line in text.splitlines()), text


def test_globus_away_is_told_once(desk, command, caplog):
    desk.set(GLOBUS_SDK_SERVICE_URL_TRANSFER="http://127.0.0.1:9")
    done = command(*(word.format(root=desk.root) for word in DOCTOR))
    assert done.code == TEMPORARY
    assert "FAIL  globus" in done.out
    assert [record for record in caplog.records if record.name.startswith("globus_sdk")] == []


def test_no_words_at_all_show_the_help(command):
    done = command()
    assert done.code == 0
    assert done.out.startswith("Usage: prefect-alyx [OPTIONS] COMMAND [ARGS]...\n\n  Every dataset")
    assert done.err == ""


def test_a_selection_that_nothing_matches_says_so(desk, command):
    done = command("plan", "--lab", "cortexlab", "--name", "spike.times", "--root", desk.root)
    assert done.code == 0
    assert "No dataset in Alyx matches all of the selection" in done.out


def test_a_disk_without_room_for_the_output_is_told():
    command = [sys.executable, "-m", "flows.cli", "explain", "disk-full"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == STOPPED
    assert done.stderr.startswith("prefect-alyx: The disk is full. standard output: No space left on device.")
    assert "bytes" not in done.stderr
    readable(done.stderr)


def test_a_file_that_a_library_may_not_read_is_told(monkeypatch, command):
    def refused(*_):
        raise PermissionError(13, "Permission denied", "/home/ana/.prefect/profiles.toml")

    monkeypatch.setattr("flows.doctor.Doctor.findings", refused)
    done = command("doctor")
    assert done.code == STOPPED
    assert "/home/ana/.prefect/profiles.toml: Permission denied. [read-only]" in re.sub(r"\s+", " ", done.err)
    readable(done.err)


def assert_told(mistake, text):
    told = re.sub(r"\s+", " ", text)
    for part in (mistake.what, mistake.which, mistake.why, mistake.step):
        assert part in told, text


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_has_its_message(mistake, desk, command):
    done = said(mistake, desk, command)
    message = done.err[done.err.index("prefect-alyx: ") :]
    assert done.code == mistake.code, done.err
    assert "\n  -> " in message
    readable(message)
    assert_told(mistake, message)


@pytest.mark.parametrize("mistake", FOUND, ids=str)
def test_doctor_finds_it(mistake, desk, command, caplog):
    done = said(mistake, desk, command)
    assert done.code == mistake.code, done.out
    readable(done.out)
    assert_told(mistake, done.out + caplog.text)


def test_the_table_is_long_enough():
    assert len({mistake.title for mistake in (*MISTAKES, *FOUND)}) >= 25
