"""`prefect-alyx doctor`: what is good, what is not and what then; it changes nothing and shows no secret."""

from __future__ import annotations

import email.utils
import errno
import json
import os
import socket
import stat
import threading
from collections import defaultdict

import pytest
from click.testing import CliRunner
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deployments.sandbox.full import LOCAL_ENDPOINT, REFRESH_TOKEN, FullLab
from deployments.sandbox.lab import MEMBER_PASSWORD, PASSWORD, SECRET_KEY
from flows.cli import cli
from flows.doctor import Doctor, exit_code
from tasks.checks import local as local_checks
from tasks.checks import remote as remote_checks
from tasks.checks.finding import Finding
from tasks.clients import WireOptions, client_class, client_for, store
from tasks.clients.verdicts import RULES, DownloadError
from tasks.ledger import Ledger
from tasks.model import Outcome, State
from tasks.rest.exchange import Answer
from tasks.settings import AlyxSettings

NOON = 1_700_000_000.0


@pytest.fixture(scope="module")
def running():
    with FullLab() as full:
        yield full


@pytest.fixture(autouse=True)
def no_prefect(tmp_path_factory):
    with temporary_settings(updates={PREFECT_API_URL: None, PREFECT_HOME: tmp_path_factory.mktemp("prefect")}):
        yield


@pytest.fixture
def full(running, monkeypatch):
    running.lab.reset()
    running.globus.clear_faults()
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    return running


def examine(root, **settings):
    """All findings by subject."""
    found = defaultdict(list)
    doctor = Doctor(root, AlyxSettings(**{"reserve_bytes": 0, **settings}))
    for finding in doctor.findings():
        found[finding.subject].append(finding)
    return dict(found)


def failures(found):
    return {subject: one for subject, group in found.items() for one in group if one.mark == "FAIL"}


def code(found):
    return exit_code(one for group in found.values() for one in group)


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_good_lab_is_good_over_every_protocol(full, tmp_path):
    found = examine(tmp_path / "root")
    assert failures(found) == {}
    assert code(found) == 0
    routes = {subject.split()[0] for subject in found if " " in subject}
    assert {"aws", "http", "globus", "kachary"} <= routes
    assert {"Python", "Prefect", "Prefect API", "root", "disk", "ledger", "Alyx", "clock", "login"} <= set(found)


def test_it_writes_nothing_and_shows_no_secret(full, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    text = str(examine(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before
    for secret in (PASSWORD, MEMBER_PASSWORD, SECRET_KEY, REFRESH_TOKEN):
        assert secret not in text


def test_the_command_prints_findings_and_a_summary_as_json(full, tmp_path):
    done = CliRunner().invoke(cli, ["doctor", "--root", str(tmp_path), "--json"])
    *rows, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert set(rows[0]) == {"state", "subject", "text", "next_step", "verdict"}
    assert sum(last["summary"].values()) == len(rows)
    assert last["summary"]["fail"] == sum(row["state"] == "fail" for row in rows)


# --- servers --------------------------------------------------------------------------------------------------------


def test_a_server_that_is_down_fails_for_now_and_only_its_repositories(full, tmp_path):
    full.lab.servers["members"].stop()
    found = examine(tmp_path)
    assert list(failures(found)) == ["http members_cortexlab"]
    assert failures(found)["http members_cortexlab"].next_step == RULES["connect"].next_step
    assert code(found) == 5


def test_a_wrong_password_of_a_file_server(full, tmp_path):
    full.lab.members.clear()
    found = examine(tmp_path)
    assert failures(found)["http members_cortexlab"].next_step == RULES["unauthorised"].next_step
    assert code(found) == 7


def test_keys_that_s3_does_not_know(full, tmp_path):
    full.lab.s3.gate.secrets.clear()
    assert [subject for subject in failures(examine(tmp_path)) if subject.startswith("aws")] == [
        "aws aws_churchlandlab"
    ]


def test_a_bucket_that_is_gone(full, tmp_path):
    full.lab.s3.buckets.clear()
    assert len([subject for subject in failures(examine(tmp_path)) if subject.startswith("aws")]) == 2


def test_a_globus_endpoint_that_is_offline(full, tmp_path):
    records = full.lab.world.repositories
    shared, laptop = records["globus_cortexlab"].endpoint, records["cortexlab_SR"].endpoint
    for endpoint in (shared, laptop):
        full.globus.endpoint(endpoint, entity_type="GCP_mapped_collection", connected=False)
    try:
        found = examine(tmp_path)
    finally:
        for endpoint in (shared, laptop):
            full.globus.endpoint(endpoint, entity_type="GCSv5_mapped_collection", connected=True)
    assert list(failures(found)) == ["globus globus_cortexlab"]
    assert found["globus cortexlab_SR"][0].mark == "note"


def test_a_refused_globus_login(full, tmp_path):
    params = json.loads(store.path().read_text())
    params["globus"]["default"] |= {"refresh_token": "worthless", "access_token": None}
    store.path().write_text(json.dumps(params))
    found = examine(tmp_path)
    assert failures(found)["globus globus_cortexlab"].next_step == RULES["globus-login"].next_step
    assert code(found) == 7


def test_what_is_not_configured_is_worth_a_note(full, tmp_path):
    store.path().unlink()
    found = examine(tmp_path)
    assert [found[name][0].mark for name in ("globus", "kachary", "params store")] == ["note"] * 3
    assert "setup globus" in found["globus"][0].next_step
    assert failures(found) == {}


def knocking(port, **record):
    """Ask an HTTP repository at a port, with little patience."""
    options = WireOptions(attempts=1, connect_seconds=0.2, stall_seconds=0.2)
    return client_for("http", {"name": "r", "data_url": f"http://127.0.0.1:{port}/x", **record}, {}, options).reach()


def test_a_server_that_accepts_and_says_nothing():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(DownloadError) as caught:
            knocking(silent.getsockname()[1])
    assert caught.value.code == "stalled"


def test_a_server_that_nobody_runs():
    with pytest.raises(DownloadError) as caught:
        knocking(closed_port())
    assert caught.value.code == "connect"


def test_a_repository_without_an_address():
    with pytest.raises(DownloadError) as caught:
        knocking(0, data_url="")
    assert caught.value.code == "not-addressable"


# --- Alyx -----------------------------------------------------------------------------------------------------------


def test_alyx_is_down(full, tmp_path):
    full.lab.servers["alyx"].stop()
    found = examine(tmp_path)
    assert list(failures(found)) == ["Alyx"]
    assert found["repositories"][0].mark == "note"
    assert code(found) == 5


def test_alyx_refuses_the_login(full, tmp_path, monkeypatch):
    monkeypatch.setenv("ALYX_PASSWORD", "wrong")
    found = examine(tmp_path)
    assert list(failures(found)) == ["login and repositories"]
    assert "wrong" not in str(found)
    assert code(found) == 7


def test_no_alyx_is_configured(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ALYX_URL", raising=False)
    found = examine(None)
    assert set(failures(found)) == {"Alyx", "root"}
    assert failures(found)["Alyx"].next_step == RULES["alyx-no-url"].next_step


@pytest.mark.parametrize(
    ("ahead", "mark"),
    [(0, "ok"), (59, "ok"), (61, "note"), (-61, "note"), (899, "note"), (901, "FAIL"), (-901, "FAIL")],
)
def test_the_clock(ahead, mark):
    answer = Answer("", 200, {"Date": email.utils.formatdate(NOON, usegmt=True)}, b"")
    (finding,) = remote_checks.clock(answer, NOON + ahead)
    assert finding.mark == mark
    assert ("behind" in finding.text) == (ahead < 0)


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_a_server_without_a_date(date):
    (finding,) = remote_checks.clock(Answer("", 200, {"Date": date}, b""), NOON)
    assert finding.mark == "note"


# --- this machine ---------------------------------------------------------------------------------------------------


def test_a_params_store_that_others_may_read(full):
    store.path().chmod(0o644)
    found = {one.subject: one for one in local_checks.one_files()}
    assert found[str(store.path())].mark == "note"
    assert "it is private now" in found[str(store.path())].text
    assert stat.S_IMODE(store.path().stat().st_mode) == 0o600


def test_a_corrupt_params_store(full, tmp_path):
    store.path().write_text('{"http": {"default": {"HTTP_DATA_SERVER_PWD": "hunter2"')
    found = examine(tmp_path)
    assert str(store.path()) in failures(found)["ONE's files"].text
    assert "hunter2" not in str(found)
    assert code(found) == 7


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_root_that_cannot_be_written(full, tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    found = examine(tmp_path / "root")
    tmp_path.chmod(stat.S_IRWXU)
    assert failures(found)["root"].next_step == RULES["read-only"].next_step


def test_a_root_that_is_a_file(tmp_path):
    (tmp_path / "root").touch()
    doctor = Doctor(tmp_path / "root")
    (finding,) = doctor._bounded(("root", lambda: local_checks.place(tmp_path / "root")))
    assert finding.mark == "FAIL"


def test_a_disk_below_the_reserve(full, tmp_path):
    found = examine(tmp_path, reserve_bytes=10**18)
    assert failures(found)["disk"].next_step == RULES["no-space"].next_step
    assert code(found) == 7


def test_a_ledger_with_failures_points_on(tmp_path):
    book = Ledger.open(tmp_path)
    book.record([Outcome("d", "a.npy", State.FAILED, verdict="RETRY", code="connect", reason="No.")])
    book.close()
    (finding,) = local_checks.ledger(tmp_path)
    assert (finding.mark, finding.text) == ("note", "0 files proven, 1 failed")
    assert "status" in finding.next_step


def test_a_damaged_ledger(full, tmp_path):
    (tmp_path / ".prefect-alyx").mkdir()
    (tmp_path / ".prefect-alyx" / "ledger.db").write_bytes(b"no database at all" * 100)
    assert failures(examine(tmp_path))["ledger"].next_step == RULES["ledger-corrupt"].next_step


def test_a_prefect_api_that_does_not_answer(tmp_path):
    with temporary_settings(updates={PREFECT_API_URL: f"http://ana:hunter2@127.0.0.1:{closed_port()}/api"}):
        checks = dict(Doctor(tmp_path)._local())
        (finding,) = Doctor(tmp_path)._bounded(("Prefect API", checks["Prefect API"]))
    assert (finding.mark, finding.verdict) == ("FAIL", "RETRY")
    assert "hunter2" not in str(finding)


def test_a_check_that_hangs_is_given_up(tmp_path):
    doctor = Doctor(tmp_path, seconds=-1)  # over before it began, so that nobody waits
    held = threading.Event()
    (finding,) = doctor._bounded(("mount", lambda: [held.wait()]))
    held.set()
    assert (finding.mark, finding.verdict) == ("FAIL", "RETRY")


def test_what_the_system_refuses_is_a_finding_too(tmp_path):
    def refused():
        raise PermissionError(errno.EACCES, "Permission denied", "/data")

    (finding,) = Doctor(tmp_path)._bounded(("root", refused))
    assert (finding.mark, finding.next_step) == ("FAIL", RULES["read-only"].next_step)
    assert "/data" in finding.text


def test_a_line_fits_a_terminal_and_names_the_way_out():
    finding = Finding("FAIL", "http x", "The server cannot be reached. " * 5, "Check the network. " * 8)
    lines = list(finding.lines())
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("FAIL  http x: The server")
    assert sum("->" in line for line in lines) == 1


def test_every_protocol_has_a_small_question_of_its_own():
    base = client_class("http").__mro__[2]
    assert all(client_class(name).reach is not base.reach for name in ("aws", "http", "globus", "kachary"))
    assert base.__name__ == "DownloadClient"


def test_the_local_endpoint_is_named(full, tmp_path):
    assert LOCAL_ENDPOINT in examine(tmp_path)["globus globus_cortexlab"][0].text
