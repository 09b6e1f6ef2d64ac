"""The Globus emulator against the SDK's own documents, the SDK itself and the unmodified `globus` command."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import globus_sdk
import pytest
import requests
from globus_sdk.transport import RetryConfig

from deployments.sandbox.globus import TRANSFER_SCOPE, GlobusEmulator

LAB = "1b6f5a7c-a7a9-11e8-96fa-0a6d4e044368"  # version 1, as old endpoints
STORE = "aaaaaaaa-0000-4000-8000-000000000001"  # version 4, as collections
CLIENT = "cccccccc-0000-4000-8000-000000000003"
SECRET = "s3cret"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    with GlobusEmulator(tmp_path_factory.mktemp("globus")) as running:
        yield running


@pytest.fixture
def lab(emulator, tmp_path, monkeypatch):
    """Two collections with fresh directories, and a client that may use them."""
    return prepare(emulator, tmp_path, monkeypatch)


@pytest.fixture
def process_lab(tmp_path, monkeypatch):
    """The same with an emulator that is a process of its own."""
    with GlobusEmulator(tmp_path / "state", as_process=True) as running:
        yield prepare(running, tmp_path, monkeypatch)


def prepare(emulator, tmp_path, monkeypatch):
    for name, value in emulator.environment.items():
        monkeypatch.setenv(name, value)
    emulator.clear_faults()
    emulator.clear_log()
    emulator.pace(files=None, bytes_per_second=None, retry_seconds=60)
    emulator.tokens(clients=[{"client": CLIENT, "secret": SECRET}], lifetime=172_800, refresh_reply="omit")
    return Lab(emulator, tmp_path)


class Lab:
    def __init__(self, emulator, tmp_path):
        self.emulator = emulator
        self.source, self.target = tmp_path / "source", tmp_path / "target"
        self.source.mkdir()
        self.target.mkdir()
        common = {"connected": True, "paused": False, "data_access": False, "https": False, "anonymous": False}
        emulator.endpoint(STORE, root=str(self.source), display_name="store", **common)
        emulator.endpoint(LAB, root=str(self.target), entity_type="GCP_mapped_collection", **common)
        self.login()

    def login(self):
        authorizer = globus_sdk.AccessTokenAuthorizer(self.emulator.access_token(client=CLIENT))
        # The SDK's waits between retries are not what is tested here.
        self.transfer = globus_sdk.TransferClient(authorizer=authorizer, retry_config=RetryConfig(max_sleep=0))

    def write(self, name, content=b"hello-data"):
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def submit(self, *names, recursive=None, **options):
        data = globus_sdk.TransferData(STORE, LAB, **options)
        for name in names:
            data.add_item(f"/{name}", f"/{name}", recursive=recursive or globus_sdk.MISSING)
        return self.transfer.submit_transfer(data)["task_id"]

    def run(self, *names, **options):
        task = self.submit(*names, **options)
        self.emulator.settle()
        return task, self.transfer.get_task(task).data

    def codes(self, task, **options):
        return [event["code"] for event in self.transfer.task_event_list(task, **options)]


# --- the documents of the SDK's testing package --------------------------------------------------


def fixture(name, case="default"):
    pytest.importorskip("responses", reason="globus_sdk.testing needs it")
    from globus_sdk.testing import get_response_set

    return get_response_set(name).lookup(case)


def assert_same_form(expected, answer):
    """Every key of the recorded document is there, with a value of its type; null goes with anything."""
    for key, value in expected.items():
        assert key in answer
        if value is not None and answer[key] is not None:
            assert type(answer[key]) is type(value), key
        if isinstance(value, dict):
            assert_same_form(value, answer[key])
        if isinstance(value, list) and value and isinstance(value[0], dict) and answer[key]:
            assert_same_form(value[0], answer[key][0])


def test_task_documents_have_the_recorded_form(lab):
    lab.write("a.npy")
    task, document = lab.run("a.npy")
    recorded = fixture("transfer.task_list").json
    listed = lab.transfer.task_list(limit=1000, filter={"task_id": task}).data
    assert_same_form(recorded, listed)
    assert_same_form(recorded["DATA"][0], document)
    assert {key for key in recorded["DATA"][0] if recorded["DATA"][0][key] is None} >= {"nice_status", "is_ok"}
    assert document["nice_status"] is None
    assert document["is_ok"] is None


def test_submissions_have_the_recorded_form(lab):
    lab.write("a.npy")
    submission = lab.transfer.get_submission_id().data
    assert_same_form(fixture("transfer.get_submission_id").json, submission)
    data = globus_sdk.TransferData(STORE, LAB, submission_id=submission["value"])
    data.add_item("/a.npy", "/a.npy")
    accepted = lab.transfer.submit_transfer(data)
    recorded = fixture("transfer.submit_transfer").json
    assert_same_form(recorded, accepted.data)
    assert (accepted["code"], accepted["message"]) == (recorded["code"], recorded["message"])
    again = lab.transfer.submit_transfer(data)
    assert (again["code"], again["task_id"]) == ("Duplicate", accepted["task_id"])


@pytest.mark.parametrize(
    ("name", "case", "call"),
    [
        ("transfer.submit_transfer", "failure", lambda c: c.submit_transfer(globus_sdk.TransferData(STORE, LAB))),
        ("transfer.operation_stat", "not_found", lambda c: c.operation_stat(STORE, "/no")),
        ("transfer.operation_stat", "permission_denied", lambda c: c.operation_stat(STORE, "/../no")),
    ],
)
def test_errors_have_the_recorded_status_and_code(lab, name, case, call):
    recorded = fixture(name, case)
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        call(lab.transfer)
    assert (caught.value.http_status, caught.value.code) == (recorded.status, recorded.json["code"])
    assert_same_form(recorded.json, caught.value.raw_json)


def test_endpoint_and_file_operations_have_the_recorded_form(lab):
    lab.write("a.npy")
    assert_same_form(fixture("transfer.get_endpoint").json, lab.transfer.get_endpoint(STORE).data)
    assert_same_form(fixture("transfer.operation_stat").json, lab.transfer.operation_stat(STORE, "/a.npy").data)
    made = lab.transfer.operation_mkdir(STORE, "/new").data
    recorded = fixture("transfer.operation_mkdir").json
    assert_same_form(recorded, made)
    assert made["code"] == recorded["code"]
    assert (lab.source / "new").is_dir()


def test_cancelling_has_the_recorded_form_and_fails_the_task(lab):
    lab.write("a.npy")
    lab.emulator.pace(files=0)
    task = lab.submit("a.npy")
    lab.emulator.settle()
    answer = lab.transfer.cancel_task(task).data
    recorded = fixture("transfer.cancel_task").json
    assert_same_form(recorded, answer)
    assert (answer["code"], answer["message"]) == (recorded["code"], recorded["message"])
    document = lab.transfer.get_task(task).data
    assert document["status"] == "FAILED"
    assert document["fatal_error"] == {"code": "CANCELED", "description": "canceled"}
    assert (document["subtasks_succeeded"], document["subtasks_canceled"]) == (1, 1)
    assert lab.codes(task)[0] == "CANCELED"


def test_token_replies_have_the_recorded_form(lab):
    auth = globus_sdk.ConfidentialAppAuthClient(CLIENT, SECRET)
    granted = auth.oauth2_client_credentials_tokens(requested_scopes=TRANSFER_SCOPE)
    recorded = fixture("auth.oauth2_client_credentials_tokens")
    assert_same_form(recorded.json, granted.data)
    assert granted.by_resource_server["transfer.api.globus.org"]["scope"] == recorded.json["scope"]
    revoked = auth.oauth2_revoke_token(granted["access_token"])
    assert revoked.data == fixture("auth.oauth2_revoke_token").json
    refused = fixture("auth.oauth2_exchange_code_for_tokens", "invalid_grant")
    auth.oauth2_start_flow("https://example.org", TRANSFER_SCOPE)
    with pytest.raises(globus_sdk.AuthAPIError) as caught:
        auth.oauth2_exchange_code_for_tokens("wrong")
    assert caught.value.raw_json == refused.json


# --- what tasks do ----------------------------------------------------------------------------------


def test_a_task_copies_files_and_counts_as_real_ones_do(lab):
    names = [f"day/{number}.npy" for number in range(250)]
    for name in names:
        lab.write(name, name.encode())
    task, document = lab.run(*names)
    assert document["status"] == "SUCCEEDED"
    assert (document["files"], document["files_transferred"], document["subtasks_total"]) == (250, 250, 500)
    assert document["bytes_transferred"] == sum(len(name) for name in names)
    assert [(lab.target / name).read_bytes() for name in names] == [name.encode() for name in names]
    assert len(lab.transfer.task_successful_transfers(task)["DATA"]) == 100
    rows = list(lab.transfer.paginated.task_successful_transfers(task).items())
    assert {row["destination_path"] for row in rows} == {f"/{name}" for name in names}


def test_a_recursive_item_counts_its_directories(lab):
    for name in ("top/a", "top/sub/b", "top/sub/c"):
        lab.write(name)
    task, document = lab.run("top", recursive=True)
    assert (document["directories"], document["files"], document["subtasks_total"]) == (2, 3, 6)
    assert (lab.target / "top/sub/c").read_bytes() == b"hello-data"
    assert "SUCCEEDED" in lab.codes(task)


def test_a_missing_file_keeps_a_task_active_until_its_deadline(lab):
    lab.write("good")
    task, document = lab.run("missing", "good")
    assert (document["status"], document["is_ok"], document["nice_status"]) == ("ACTIVE", False, "FILE_NOT_FOUND")
    assert (lab.target / "good").exists()
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        lab.transfer.task_successful_transfers(task)
    assert (caught.value.http_status, caught.value.code) == (400, "ClientError.BadRequest")
    lab.emulator.advance(61)
    assert lab.transfer.get_task(task)["faults"] == 2
    error = next(iter(lab.transfer.task_event_list(task, query_params={"filter": "is_error:1"})))
    assert json.loads(error["details"])["context"][0]["path"] == "/missing"
    lab.emulator.advance(4 * 86_400)
    lab.login()  # the token is of last week
    document = lab.transfer.get_task(task).data
    assert (document["status"], document["fatal_error"]["code"]) == ("FAILED", "EXPIRED")
    assert document["subtasks_expired"] == 1


def test_skipped_source_errors_are_listed_by_code(lab):
    lab.write("good")
    lab.write("secret")
    lab.emulator.path_fault("/secret", "PERMISSION_DENIED", op="scan")
    task, document = lab.run("missing", "good", "secret", skip_source_errors=True)
    assert (document["status"], document["subtasks_skipped_errors"], document["faults"]) == ("SUCCEEDED", 2, 0)
    skipped = {
        row["source_path"]: row["error_code"] for row in lab.transfer.paginated.task_skipped_errors(task).items()
    }
    assert skipped == {"/missing": "FILE_NOT_FOUND", "/secret": "PERMISSION_DENIED"}


def test_files_in_sync_are_neither_moved_nor_listed(lab):
    lab.write("same")
    lab.write("stale")
    lab.run("same", "stale")
    lab.write("stale", b"hello-date")
    task, document = lab.run("same", "stale", sync_level="checksum")
    assert (document["files_skipped"], document["files_transferred"], document["sync_level"]) == (1, 1, 3)
    assert [row["source_path"] for row in lab.transfer.task_successful_transfers(task)] == ["/stale"]
    assert (lab.target / "stale").read_bytes() == b"hello-date"


def test_verification_sends_a_corrupted_file_again(lab):
    lab.write("a.npy")
    lab.emulator.path_fault("/a.npy", "CORRUPT")
    task, document = lab.run("a.npy", verify_checksum=True)
    assert (document["status"], document["nice_status"], document["is_ok"]) == ("ACTIVE", "VERIFY_CHECKSUM", False)
    assert document["nice_status_short_description"] == "checksum verification failed"
    lab.emulator.advance(61)
    document = lab.transfer.get_task(task).data
    assert (document["status"], document["faults"], document["bytes_transferred"]) == ("SUCCEEDED", 1, 20)
    assert (lab.target / "a.npy").read_bytes() == b"hello-data"


def test_without_verification_corruption_passes(lab):
    lab.write("a.npy")
    lab.emulator.path_fault("/a.npy", "CORRUPT")
    _, document = lab.run("a.npy")
    assert document["status"] == "SUCCEEDED"
    assert (lab.target / "a.npy").read_bytes() != b"hello-data"


def test_an_external_checksum_that_differs_fails_the_whole_task(lab):
    lab.write("a.npy")
    lab.write("b.npy")
    data = globus_sdk.TransferData(STORE, LAB)
    data.add_item("/a.npy", "/a.npy", external_checksum="0" * 32)
    sha1 = hashlib.sha1(b"hello-data", usedforsecurity=False).hexdigest()
    data.add_item("/b.npy", "/b.npy", external_checksum=sha1, checksum_algorithm="SHA1")
    task = lab.transfer.submit_transfer(data)["task_id"]
    lab.emulator.settle()
    assert lab.transfer.get_task(task)["status"] == "FAILED"


def test_a_stalled_file_says_nothing_and_leaves_a_partial_in_place(lab):
    lab.write("big", b"x" * 1000)
    lab.write("small")
    lab.emulator.path_fault("/big", "STALL", times=None)
    task, document = lab.run("big", "small")
    assert (document["status"], document["nice_status"], document["faults"]) == ("ACTIVE", "OK", 0)
    assert (lab.target / "big").stat().st_size == 500
    assert (lab.target / "small").exists()
    lab.emulator.clear_faults()
    assert lab.transfer.get_task(task)["status"] == "SUCCEEDED"
    assert (lab.target / "big").read_bytes() == b"x" * 1000


@pytest.mark.parametrize(("flag", "ending"), [(True, ("FAILED", "QUOTA_EXCEEDED")), (False, ("ACTIVE", None))])
def test_a_full_destination_fails_the_task_if_asked_to(lab, flag, ending):
    lab.write("a")
    lab.emulator.path_fault("/a", "QUOTA_EXCEEDED", side="destination", times=None)
    task, document = lab.run("a", fail_on_quota_errors=flag)
    assert (document["status"], (document["fatal_error"] or {}).get("code")) == ending
    assert "QUOTA_EXCEEDED" in lab.codes(task)


@pytest.mark.parametrize(
    ("change", "code"), [({"connected": False}, "GC_NOT_CONNECTED"), ({"paused": True}, "GC_PAUSED")]
)
def test_a_personal_endpoint_that_is_away_holds_the_task(lab, change, code):
    lab.write("a")
    lab.emulator.endpoint(LAB, **change)
    task, document = lab.run("a")
    assert (document["status"], document["nice_status"]) == ("ACTIVE", code)
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        lab.transfer.operation_ls(LAB)
    assert (caught.value.http_status, caught.value.code) == (502, "ExternalError.DirListingFailed.GCDisconnected")
    lab.emulator.endpoint(LAB, connected=True, paused=False)
    lab.emulator.advance(61)
    assert lab.transfer.get_task(task)["status"] == "SUCCEEDED"


def test_a_paused_task_waits_and_an_inactive_one_counts_as_ended_for_the_sdk(lab):
    lab.write("a")
    lab.emulator.pace(files=0)
    task, _ = lab.run("a")
    lab.emulator.control(f"task/{task}", is_paused=True)
    assert lab.transfer.get_task(task)["is_paused"] is True
    assert lab.transfer.task_pause_info(task)["pause_rules"]
    lab.emulator.control(f"task/{task}", is_paused=False, status="INACTIVE")
    assert lab.transfer.task_wait(task, timeout=1) is True
    lab.emulator.control(f"task/{task}", status="ACTIVE")
    lab.emulator.pace(files=None)
    assert lab.transfer.get_task(task)["status"] == "SUCCEEDED"


def test_three_tasks_run_and_the_rest_queue(lab):
    for number in range(5):
        lab.write(str(number))
    lab.emulator.pace(files=0)
    tasks = [lab.submit(str(number)) for number in range(5)]
    lab.emulator.settle()
    assert [lab.transfer.get_task(task)["nice_status"] for task in tasks] == ["OK"] * 3 + ["Queued"] * 2
    lab.emulator.pace(files=None)
    assert {lab.transfer.get_task(task)["status"] for task in tasks} == {"SUCCEEDED"}


def test_the_pace_is_bytes_a_second_of_the_emulators_clock(lab):
    lab.write("a", b"x" * 1000)
    lab.emulator.freeze()
    lab.emulator.pace(bytes_per_second=100)
    task, document = lab.run("a")
    assert document["bytes_transferred"] == 0
    lab.emulator.advance(4)
    assert lab.transfer.get_task(task)["bytes_transferred"] == 400
    lab.emulator.advance(6)
    assert lab.transfer.get_task(task)["status"] == "SUCCEEDED"


def test_the_hundred_and_first_pending_task_is_refused(lab):
    lab.write("a")
    lab.emulator.pace(files=0)
    tasks = [lab.submit("a") for _ in range(100)]
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        lab.submit("a")
    assert (caught.value.http_status, caught.value.code) == (409, "TooManyPendingJobs")
    for task in tasks:
        lab.transfer.cancel_task(task)


def test_ten_thousand_files_are_one_quick_task(lab):
    names = [f"{number:05d}" for number in range(10_000)]
    for name in names:
        (lab.source / name).write_bytes(b"x")
    _, document = lab.run(*names)
    assert (document["status"], document["files_transferred"]) == ("SUCCEEDED", 10_000)


# --- faults of the HTTP layer, credentials ---------------------------------------------------------


@pytest.mark.parametrize(("kind", "answer"), [("drop_before", 202), ("drop_after", 200)])
def test_the_sdk_posts_again_after_a_lost_reply_and_one_task_exists(lab, kind, answer):
    lab.write("a")
    before = lab.transfer.task_list(limit=1000)["total"]
    lab.emulator.http_fault("POST /v0.10/transfer", kind)
    lab.submit("a")
    assert [row["status"] for row in lab.emulator.requests("POST /v0.10/transfer")] == [0, answer]
    assert lab.transfer.task_list(limit=1000)["total"] == before + 1


def test_a_status_fault_carries_body_and_headers(lab):
    lab.emulator.http_fault(
        "GET /v0.10/task/*", status=403, body={"code": "PermissionDenied", "message": "no"}, headers={"X-Sandbox": "1"}
    )
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        lab.transfer.get_task(STORE)
    assert (caught.value.code, caught.value.headers["X-Sandbox"]) == ("PermissionDenied", "1")
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        lab.transfer.get_task(STORE)
    assert (caught.value.http_status, caught.value.code) == (404, "ClientError.NotFound")


def test_service_unavailable_is_retried_by_the_sdk(lab):
    lab.emulator.http_fault("GET /v0.10/submission_id", status=503, headers={"Retry-After": "0"}, times=2)
    assert lab.transfer.get_submission_id()["value"]
    assert [row["status"] for row in lab.emulator.requests("GET /v0.10/submission_id")] == [503, 503, 200]


@pytest.mark.parametrize(("reply", "kept"), [("omit", None), ("same", "Rg1"), ("rotate", "other")])
def test_refreshing_replies_as_asked(lab, reply, kept):
    lab.emulator.tokens(refresh=[{"token": "Rg1", "client": CLIENT, "scope": TRANSFER_SCOPE}], refresh_reply=reply)
    auth = globus_sdk.NativeAppAuthClient(CLIENT)
    token = auth.oauth2_refresh_token("Rg1").by_resource_server["transfer.api.globus.org"]["refresh_token"]
    assert token == kept if kept != "other" else token not in (None, "Rg1")
    if kept == "other":
        with pytest.raises(globus_sdk.AuthAPIError) as caught:
            auth.oauth2_refresh_token("Rg1")
        assert (caught.value.http_status, caught.value.raw_json) == (400, {"error": "invalid_grant"})


def test_an_expired_access_token_is_refused_and_refreshed_once(lab):
    lab.emulator.tokens(refresh=[{"token": "Rg2", "client": CLIENT, "scope": TRANSFER_SCOPE}], refresh_reply="same")
    authorizer = globus_sdk.RefreshTokenAuthorizer("Rg2", globus_sdk.NativeAppAuthClient(CLIENT))
    client = globus_sdk.TransferClient(authorizer=authorizer, retry_config=RetryConfig(max_sleep=0))
    client.get_submission_id()
    lab.emulator.tokens(expire=True)
    lab.emulator.clear_log()
    client.get_submission_id()
    rows = [(row["request"].split()[1], row["status"]) for row in lab.emulator.requests()]
    assert rows == [("/v0.10/submission_id", 401), ("/v2/oauth2/token", 200), ("/v0.10/submission_id", 200)]


def test_a_login_by_code_needs_the_verifier(lab):
    auth = globus_sdk.NativeAppAuthClient(CLIENT)
    auth.oauth2_start_flow(TRANSFER_SCOPE, refresh_tokens=True)
    page = requests.get(auth.oauth2_get_authorize_url(), timeout=10).text
    code = re.search("<code>(.*)</code>", page)[1]
    tokens = auth.oauth2_exchange_code_for_tokens(code).by_resource_server["transfer.api.globus.org"]
    assert tokens["refresh_token"]
    with pytest.raises(globus_sdk.AuthAPIError):
        auth.oauth2_exchange_code_for_tokens(code)


def test_data_access_consent_is_asked_for_once(lab):
    lab.emulator.endpoint(STORE, entity_type="GCSv5_mapped_collection", data_access=True)
    with pytest.raises(globus_sdk.TransferAPIError) as caught:
        lab.transfer.operation_ls(STORE)
    assert caught.value.info.consent_required
    scopes = caught.value.info.consent_required.required_scopes
    globus_sdk.ConfidentialAppAuthClient(CLIENT, SECRET).oauth2_client_credentials_tokens(requested_scopes=scopes)
    assert lab.transfer.operation_ls(STORE)["DATA"] == []


# --- HTTPS -------------------------------------------------------------------------------------------


def test_https_downloads_need_the_collections_scope_and_answer_ranges(lab):
    lab.write("day/#2024-01-01#/a b.npy", b"0123456789")
    assert lab.transfer.get_endpoint(STORE)["https_server"] is None
    lab.emulator.endpoint(STORE, https=True)
    url = lab.transfer.get_endpoint(STORE)["https_server"] + "/day/%232024-01-01%23/a%20b.npy"
    unknown = requests.get(url, timeout=10, allow_redirects=False)
    assert (unknown.status_code, f"client_id={STORE}" in unknown.headers["Location"]) == (302, True)
    scope = f"https://auth.globus.org/scopes/{STORE}/https"
    for token, status in ((lab.emulator.access_token(), 403), (lab.emulator.access_token(scope=scope), 206)):
        headers = {"Authorization": f"Bearer {token}", "Range": "bytes=4-6"}
        answer = requests.get(url, headers=headers, timeout=10)
        assert answer.status_code == status
    assert (answer.content, answer.headers["Content-Range"]) == (b"456", "bytes 4-6/10")
    lab.emulator.endpoint(STORE, anonymous=True)
    assert requests.get(url, timeout=10).content == b"0123456789"


# --- restarts ----------------------------------------------------------------------------------------


def test_a_restart_keeps_tasks_tokens_and_collections(lab):
    for name in "abc":
        lab.write(name)
    lab.emulator.pace(files=1)
    task, _ = lab.run(*"abc")
    lab.emulator.restart()
    lab.emulator.settle()
    document = lab.transfer.get_task(task).data
    assert (document["status"], document["files_transferred"]) == ("SUCCEEDED", 3)
    assert lab.codes(task)[-1] == "STARTED"


def test_a_killed_process_goes_on_where_it_was(process_lab):
    lab = process_lab
    for name in "abc":
        lab.write(name)
    lab.emulator.pace(files=2)
    task = lab.submit(*"abc")
    lab.emulator.settle()
    lab.emulator.kill()
    with pytest.raises(globus_sdk.NetworkError):
        lab.transfer.get_task(task)
    lab.emulator.start()
    lab.emulator.settle()
    assert lab.transfer.get_task(task)["status"] == "SUCCEEDED"


# --- the `globus` command ------------------------------------------------------------------------------


def globus_command():
    """The command of a virtual environment of its own: it pins another SDK than ours."""
    default = Path(tempfile.gettempdir()) / "globus-cli-venv/bin/globus"
    return os.environ.get("GLOBUS_CLI") or shutil.which("globus") or (str(default) if default.exists() else None)


@pytest.mark.skipif(globus_command() is None, reason="globus-cli is not installed; GLOBUS_CLI names it")
def test_the_globus_command_works_unmodified(lab, tmp_path):
    lab.write("day/a.npy")
    lab.write("day/b.npy", b"more")
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "GLOBUS_CLI_CLIENT_ID": CLIENT,
        "GLOBUS_CLI_CLIENT_SECRET": SECRET,
    }

    def globus(*arguments):
        command = [globus_command(), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert globus("ls", f"{STORE}:/day").split() == ["a.npy", "b.npy"]
    task = globus("transfer", "-r", f"{STORE}:/day", f"{LAB}:/day", "--jmespath", "task_id", "-F", "unix").strip()
    lab.emulator.settle()
    globus("task", "wait", task, "--timeout", "20")
    assert "SUCCEEDED" in globus("task", "show", task)
    assert "/day/b.npy" in globus("task", "show", task, "--successful-transfers")
    assert "STARTED" in globus("task", "event-list", task)
    assert (lab.target / "day/b.npy").read_bytes() == b"more"
