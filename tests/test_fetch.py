"""The main job from end to end: the command, the flow and a real Prefect server against a whole lab."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.sandbox.lab import MEMBER, MEMBER_PASSWORD, PASSWORD, SECRET_KEY, Lab
from deployments.sandbox.model import Fate
from flows.download import download
from tasks.selection import Selection
from tasks.telling.answers import escape
from tests.shell import PATIENCE, Done, run, start

pytestmark = pytest.mark.slow

FILE_SERVERS = ("http", "members", "s3")
ALL = ("--everything", "--revision-rule", "all")
OUTCOME = ["dataset", "path", "state", "source", "protocol", "bytes", "attempts", "verdict", "reason"]
SUMMARY = ["files", "bytes", "published", "present", "skipped", "failed", "retried", "seconds"]
#: Labs and dates of the lab's files that are fetched.
SPAN = "churchlandlab, cortexlab 2019-04-01..2020-11-10"


class Hold:
    """Something around the file servers that, while it is closed, lets every request wait until its client goes.

    Attributes:
        reached: Set when a request waits.
    """

    def __init__(self):
        self.closed = False
        self.reached = threading.Event()

    def wrap(self, name, app):
        if name not in FILE_SERVERS:
            return app

        async def around(scope, receive, send):
            while self.closed:
                self.reached.set()
                if (await receive())["type"] == "http.disconnect":
                    return
            await app(scope, receive, send)

        return around


@pytest.fixture(scope="module")
def hold():
    return Hold()


@pytest.fixture(scope="module")
def lab(hold):
    with Lab(wrap=hold.wrap) as lab:
        yield lab


@pytest.fixture(scope="module")
def environment(lab, prefect_api):
    """A shell in which the lab is configured, and the local Prefect server can be found."""
    return {**os.environ, **lab.environment()}


@pytest.fixture
def here(lab, environment, prefect_api, monkeypatch):
    """The same shell, for what runs in this process."""
    for name, value in lab.environment().items():
        monkeypatch.setenv(name, value)
    with temporary_settings(updates={PREFECT_API_URL: prefect_api}):
        yield


# --- one story, told once: plan, fetch, fetch again, retry --------------------------------------------------


@dataclass(frozen=True)
class Chapter:
    """A command that ended, and the requests for files that it made."""

    done: Done
    requests: list


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("story") / "data"


@pytest.fixture(scope="module")
def tell(lab, environment, root):
    def chapter(*arguments):
        lab.requests.clear()
        done = run(environment, *arguments, "--root", root)
        return Chapter(done, [row for server in FILE_SERVERS for row in lab.requests.seen(server=server)])

    return chapter


@pytest.fixture(scope="module")
def planned(tell, root):
    chapter = tell("plan", *ALL)
    assert not root.exists()
    return chapter


@pytest.fixture(scope="module")
def first(tell, planned):
    return tell("fetch", *ALL, "--json")


@pytest.fixture(scope="module")
def second(tell, first):
    return tell("fetch", *ALL)


@pytest.fixture(scope="module")
def retried(tell, second):
    return tell("retry")


def rows(chapter):
    return [json.loads(line) for line in chapter.done.out.splitlines()]


def summary(chapter):
    return rows(chapter)[-1]["summary"]


def unwrapped(text):
    """What is said, however wide the terminal is."""
    return " ".join(text.split())


def by_dataset(chapter):
    return {row["dataset"]: row for row in rows(chapter)[:-1]}


def test_a_plan_says_how_much_from_where_and_what_not(planned, lab):
    done = planned.done
    assert (done.code, planned.requests) == (0, [])
    lines = done.out.splitlines()
    assert re.fullmatch(r"57 files to fetch \(13\.4 MB\), 0 present, 3 skipped, into /.*/data", lines[0])
    assert lines[1] == f"catalogue: REST of {lab.urls['alyx']} (the selection is small)"
    assert re.search(r"^  aws +aws_cortexlab +\d+ files +\d+\.\d MB$", done.out, re.MULTILINE)
    assert re.search(r"^  http +members_cortexlab +1 file +300 kB$", done.out, re.MULTILINE)
    assert "no-records" not in done.out
    assert lab.manifest[lab.world.odd("no-records").id].path in done.out
    assert re.fullmatch(r"disk: .* needed \(reserve included\), .* free", lines[-1])


def test_the_first_run_says_that_some_files_failed(first):
    assert first.done.code == 3


def test_every_line_is_one_outcome_and_the_last_is_the_summary(first, lab):
    *outcomes, last = rows(first)
    assert [list(row) for row in outcomes] == [OUTCOME] * len(lab.manifest)
    assert sorted(row["dataset"] for row in outcomes) == sorted(lab.manifest)
    assert list(last) == ["summary"]
    assert list(last["summary"]) == SUMMARY


def test_the_summary_counts_what_the_lines_say(first):
    outcomes, numbers = by_dataset(first).values(), summary(first)
    for state in ("published", "present", "skipped", "failed"):
        assert numbers[state] == sum(row["state"] == state for row in outcomes)
    assert numbers["files"] == len(outcomes)
    assert (
        numbers["bytes"]
        == sum(row["bytes"] for row in outcomes)
        == sum(row.sent for row in first.requests if row.status == 200)
    )
    assert numbers["retried"] == sum(row["attempts"] > 1 for row in outcomes)
    assert numbers["seconds"] > 0


def test_standard_output_is_data_and_standard_error_is_talk(first, second):
    assert all(line.startswith("{") for line in first.done.out.splitlines())
    assert "View at http://127.0.0.1:" in first.done.err
    assert '{"' not in first.done.err
    assert "INFO" not in second.done.out
    assert "Starting a local Prefect server" not in first.done.err + second.done.err
    assert "Traceback" not in first.done.err + second.done.err


def test_what_became_of_every_dataset_is_what_was_planted(first, lab):
    states = {dataset: row["state"] for dataset, row in by_dataset(first).items()}
    assert states == {dataset: truth.fate.value for dataset, truth in lab.manifest.items()}


def test_every_published_file_has_the_digest_of_the_truth(first, lab, root):
    published = {truth.path: truth.md5 for truth in lab.manifest.values() if truth.fate is Fate.PUBLISHED}
    found = {
        path.relative_to(root).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file() and ".prefect-alyx" not in path.parts
    }
    assert found == published


def test_a_wrong_digest_never_gets_its_name_and_is_told_once_with_its_source(first, lab, root):
    wrong = lab.world.odd("wrong-digest")
    (row,) = [row for row in by_dataset(first).values() if row["state"] == "failed"]
    assert row["dataset"] == wrong.id
    assert (row["source"], row["protocol"], row["verdict"]) == ("flatiron_cortexlab", "http", "SKIP_FILE")
    assert row["reason"].startswith("aws_cortexlab, flatiron_cortexlab: The file's digest at this source is not")
    assert wrong.hash in row["reason"]
    assert not (root / wrong.path).exists()
    assert first.done.out.count('"failed"') == 1 + 1  # once in its line, once as the name of a number


@pytest.mark.parametrize(
    ("kind", "protocol", "source", "attempts"),
    [
        ("s3-lost", "http", "flatiron_cortexlab", 2),
        ("s3-stale", "http", "flatiron_churchlandlab", 2),
        ("http-lost", "aws", "aws_cortexlab", 1),
        ("only-s3", "aws", "aws_cortexlab", 1),
        ("only-http", "http", "flatiron_cortexlab", 1),
        ("members", "http", "members_cortexlab", 1),
        ("aggregate", "http", "flatiron_aggregates", 1),
        ("zero-byte", "aws", "aws_churchlandlab", 1),
        ("multipart", "aws", "aws_cortexlab", 1),
    ],
)
def test_each_file_comes_from_the_first_source_that_has_it(first, lab, kind, protocol, source, attempts):
    row = by_dataset(first)[lab.world.odd(kind).id]
    assert (row["protocol"], row["source"], row["attempts"]) == (protocol, source, attempts)


def test_failover_is_seen_at_the_servers(first, lab):
    lost = lab.world.odd("s3-lost")
    asked = [(row.server, row.status) for row in first.requests if lost.id in row.path]
    assert sorted(asked) == [("http", 200), ("s3", 404)]


def test_the_second_run_makes_no_request_for_a_file(second, lab):
    assert second.requests == []
    assert second.done.code == 0
    *_, headline, numbers = second.done.out.splitlines()
    assert headline == "Nothing to do: what can be had is there, and proven"
    published = sum(truth.fate is Fate.PUBLISHED for truth in lab.manifest.values())
    assert numbers.startswith(f"files=60 bytes=0 published=0 present={published} skipped=4 failed=0 retried=0 seconds=")
    assert "`prefect-alyx retry` tries again" in unwrapped(second.done.out)


def test_a_retry_asks_again_for_what_failed_and_for_nothing_else(retried, lab):
    wrong = lab.world.odd("wrong-digest")
    assert retried.done.code == 3
    assert {wrong.id in row.path for row in retried.requests} == {True}
    failed, *told, headline, numbers = retried.done.out.splitlines()
    assert failed.split() == ["failed", wrong.path]
    reason, next_step = unwrapped("\n".join(told)).split(" [digest-mismatch] ")
    assert wrong.hash in reason
    assert next_step == "Compare the file on the server with Alyx: one of the two is wrong."
    assert headline == "1 of 1 file failed"
    assert numbers.startswith("files=1 ")


def tree(root):
    """Everything below a directory, with what would show that it was touched."""
    return {
        path: (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_mode)
        for path in [root, *root.rglob("*")]
        for stat in [path.lstat()]
    }


def test_a_plan_touches_nothing(retried, here, command, root, lab):
    before = tree(root)
    lab.requests.clear()
    done = command("plan", *ALL, "--root", root, "--json")
    assert tree(root) == before
    *planned, last = [json.loads(line) for line in done.out.splitlines()]
    assert {row["state"] for row in planned} == {"present", "skipped"}
    assert [list(row) for row in planned] == [OUTCOME] * len(lab.manifest)
    assert list(last["summary"]) == SUMMARY
    assert not [row for server in FILE_SERVERS for row in lab.requests.seen(server=server)]


# --- how it looks in Prefect --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prefect(prefect_api):
    """Ask Prefect's REST interface, until the answer is there."""

    def ask(path, wanted=lambda found: found, **body):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            answer = requests.post(f"{prefect_api}/{path}", json=body, timeout=30)
            answer.raise_for_status()
            if wanted(answer.json()):
                return answer.json()
        pytest.fail(f"{path} never answered what is wanted: {answer.text[:2000]}")

    return ask


@pytest.fixture(scope="module")
def flow_run(first, prefect):
    identifier = re.search(r"flow-run/([0-9a-f-]{36})", first.done.err)[1]
    (found,) = prefect("flow_runs/filter", flow_runs={"id": {"any_": [identifier]}})
    return found


def one_line(chapter):
    return " ".join(f"{name}={value}" for name, value in summary(chapter).items())


def test_the_run_is_called_after_what_it_does(flow_run):
    assert flow_run["name"] == f"download everything, all revisions · {SPAN} · 57 files · 13.4 MB"


def test_the_run_ends_partial_with_the_one_line(flow_run, first):
    assert (flow_run["state"]["type"], flow_run["state"]["name"]) == ("COMPLETED", "Partial")
    assert flow_run["state"]["message"] == f"1 of 60 files failed. {one_line(first)}"


def test_a_batch_is_one_task_run(flow_run, prefect):
    tasks = prefect(
        "task_runs/filter",
        lambda found: found and all(task["state_type"] == "COMPLETED" for task in found),
        flow_runs={"id": {"any_": [flow_run["id"]]}},
    )
    assert [task["name"] for task in tasks] == [f"batch 1 of 1 · {SPAN} · 57 files · 13.4 MB"]


@pytest.fixture(scope="module")
def artifacts(flow_run, prefect):
    found = prefect(
        "artifacts/filter", lambda found: len(found) == 3, artifacts={"flow_run_id": {"any_": [flow_run["id"]]}}
    )
    return {artifact["key"]: artifact for artifact in found}


def test_progress_ends_at_a_hundred(artifacts):
    assert artifacts["alyx-progress"]["type"] == "progress"
    assert float(artifacts["alyx-progress"]["data"]) == 100


def test_the_summary_says_the_one_line_and_the_sources(artifacts, first):
    text = artifacts["alyx-summary"]["data"]
    assert text.startswith("### 1 of 60 files failed")
    assert artifacts["alyx-summary"]["description"] == f"1 of 60 files failed. {one_line(first)}"
    (encoded,) = re.findall(r"\]\(data:image/svg\+xml;base64,([\w+/=]+)\)", text)
    picture = base64.b64decode(encoded).decode()
    assert ">aws_cortexlab (aws)<" in picture
    assert ">10.9 MB, 30 files<" in picture
    assert "Compare the file on the server with Alyx" in text


def test_the_table_of_failures_has_the_source_and_the_next_step(artifacts, lab):
    (row,) = json.loads(artifacts["alyx-failures"]["data"])
    assert row["path"] == escape(lab.world.odd("wrong-digest").path)
    assert row["source"] == "flatiron\\_cortexlab"
    assert row["next step"] == escape("Compare the file on the server with Alyx: one of the two is wrong.")


def test_the_event_has_the_same_numbers(first, flow_run, prefect):
    found = prefect(
        "events/filter",
        lambda found: found["events"],
        filter={"event": {"name": ["alyx.run.finished"]}, "related": {"id": [f"prefect.flow-run.{flow_run['id']}"]}},
    )
    (event,) = found["events"]
    assert event["payload"] == {"summary": summary(first), "stopped": "", "remarks": []}


def test_the_log_has_the_same_line(first, flow_run, prefect):
    said = prefect(
        "logs/filter",
        lambda found: any(row["message"] == one_line(first) for row in found),
        logs={"flow_run_id": {"any_": [flow_run["id"]]}},
    )
    assert one_line(first) in first.done.err
    assert len(said) < 20  # a batch's, and never a file's


def test_no_secret_is_anywhere(retried, lab, root, artifacts):
    """Not in what was said, not in Prefect's database, not below the root."""
    places = [*Path(os.environ["PREFECT_HOME"]).rglob("*"), *(root / ".prefect-alyx").rglob("*")]
    kept = {path: path.read_bytes() for path in places if path.is_file()}
    assert any(path.suffix == ".db" for path in kept)
    for secret in (PASSWORD, MEMBER_PASSWORD, SECRET_KEY, lab.alyx.accounts.token("alice"), "X-Amz-Signature"):
        assert secret not in retried.done.out + retried.done.err
        assert [path for path, content in kept.items() if secret.encode() in content] == []


# --- the flow alone -----------------------------------------------------------------------------------------


def test_a_deployment_plans_by_itself(here, lab, tmp_path):
    state = download(selection=Selection(labs=["churchlandlab"]), root=tmp_path / "data", return_state=True)
    assert (state.type.value, state.name) == ("COMPLETED", "Completed")
    wanted = {
        truth.path: truth.md5
        for truth in lab.manifest.values()
        if truth.fate is Fate.PUBLISHED and truth.path.startswith("churchlandlab/")
    }
    assert state.result().summary.published == len(wanted)
    assert {path: hashlib.md5((tmp_path / "data" / path).read_bytes()).hexdigest() for path in wanted} == wanted


def test_a_deployment_that_cannot_begin_says_why(here, tmp_path):
    state = download(selection=Selection(labs=["cortexlap"]), root=tmp_path / "data", return_state=True)
    assert state.type.value == "FAILED"
    assert "did you mean 'cortexlab'?" in state.message
    assert "Correct what the message names" in state.message
    assert not (tmp_path / "data").exists()


# --- how else a run ends ------------------------------------------------------------------------------------


def test_a_server_that_is_down_is_temporary(here, lab, command, tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_INTEGRATIONS_ALYX_ATTEMPTS", "1")
    wanted = lab.world.odd("only-s3")
    lab.servers["s3"].stop()
    done = command("fetch", "--dataset", wanted.id, "--root", tmp_path)
    assert done.code == 5
    assert "The server cannot be reached." in done.out
    assert not (tmp_path / wanted.path).exists()
    lab.servers["s3"].start()
    assert command("fetch", "--dataset", wanted.id, "--root", tmp_path).code == 0
    assert (tmp_path / wanted.path).read_bytes() == wanted.content


def test_a_login_that_is_refused_everywhere_stops_the_run(here, lab, command, tmp_path, monkeypatch):
    wanted = lab.world.odd("members")
    monkeypatch.setitem(lab.members, MEMBER, "changed")
    done = command("fetch", "--dataset", wanted.id, "--root", tmp_path, "--json")
    assert done.code == 7
    row, last = [json.loads(line) for line in done.out.splitlines()]
    assert (row["state"], row["verdict"], last["summary"]["failed"]) == ("failed", "STOP_RUN", 1)
    assert "401" in row["reason"]
    assert not (tmp_path / wanted.path).exists()


# --- stopping -----------------------------------------------------------------------------------------------


def test_ctrl_c_stops_at_once_and_the_next_run_resumes(hold, lab, environment, here, command, tmp_path):
    root, chosen = tmp_path / "data", ("--subject", "CSHL_003")
    hold.closed = True
    process = start(environment, "fetch", *chosen, "--root", root)
    assert hold.reached.wait(PATIENCE)
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - begin < 10  # the promise: everything stops within 10 seconds
    assert process.returncode == 7
    assert re.search(r"^files=\d+ bytes=\d+ published=0 ", out, re.MULTILINE), (out, err)
    assert "run it again, and it resumes" in " ".join((out + err).split())
    assert "Traceback" not in err
    assert not [path for path in root.rglob("*") if path.is_file() and ".prefect-alyx" not in path.parts]
    hold.closed = False
    done = command("fetch", *chosen, "--root", root)
    assert done.code == 0
    assert re.search(r"^files=(\d+) .* failed=0 ", done.out, re.MULTILINE)


# --- what goes wrong inside a flow ----------------------------------------------------------------------------------


def test_an_expected_error_is_told_once_and_without_a_traceback(environment, tmp_path):
    wrong = {**environment, "ALYX_PASSWORD": "wrong", "HOME": str(tmp_path), "PREFECT_HOME": os.environ["PREFECT_HOME"]}
    done = run(wrong, "sync", "--lab", "cortexlab", "--root", tmp_path / "data")
    assert done.code == 7
    assert "Traceback" not in done.err
    assert done.err.count("\n") < 12, done.err
    assert "prefect-alyx: Alyx refuses the user name or the password." in done.err
