"""The params store through ONE's two functions: the same results and errors as ONE, and none of its defects."""

import copy
import json
import os
import pickle
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from one.remote.base import load_client_params as one_load
from one.remote.base import save_client_params as one_save
from requests.adapters import HTTPAdapter
from rich.pretty import pretty_repr
from urllib3.util import Retry

from tasks.clients import shared_json
from tasks.params import IBLParams, load_client_params, load_params, save_client_params
from tests.forks import FORKS

SECRET = "Ag-refresh-token"
GLOBUS = {"globus": {"default": {"local_path": "/data", "refresh_token": SECRET}, "admin": {"b": 1}}}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(shared_json, "time", SimpleNamespace(sleep=lambda _: None))
    return tmp_path


@pytest.fixture
def remote(home):
    path = home / ".one" / ".remote"
    path.parent.mkdir()
    path.write_text(json.dumps(GLOBUS))
    return path


def outcome(function, *args):
    """What a call comes to: the parameters as plain types, or the errors that it can be caught as."""
    try:
        result = function(*args)
    except Exception as error:  # noqa: BLE001  (errors are compared here)
        return type(error)
    return result and result.as_dict()


# --- loading: as ONE does -------------------------------------------------------------------------------------------

KEYS = [
    None,
    "",
    "globus",
    "globus.admin",
    "globus.default",
    "globus.missing",
    "globus.admin.b",
    "globus.admin.b.c",
    "globus.",
    ".globus",
    "http",
    "http.default",
    "count",
    "set",
    "__class__",
    "a.count",
]
FILES = {
    "good": json.dumps(GLOBUS),
    "empty map": "{}",
    "null section": '{"globus": null}',
    "empty section": '{"globus": {}}',
    "empty profile": '{"globus": {"admin": {}}}',
    "scalar profile": '{"globus": {"admin": 3, "default": 0}}',
    "list section": '{"globus": [1]}',
    "names of tuples": '{"count": {"index": {"b": 1}}, "globus": {"count": {"b": 2}}}',
    "bad section": '{"my-lab": {}, "globus": {"admin": {"b": 1}}}',
    "old dotted key": '{"globus.admin": {"b": 1}, "globus": {"admin": {"b": 1}}}',
    "bad profile": '{"globus": {"my-lab": {}, "admin": {"b": 1}}}',
    "bad field": '{"globus": {"admin": {"Access key ID": 1}}}',
    "keyword": '{"globus": {"admin": {"class": 1}}}',
    "private": '{"globus": {"_x": {"b": 1}}}',
    "no JSON": '{"globus": {',
    "empty file": "",
    "list": "[1]",
    "null": "null",
    "string": '"globus"',
}


@pytest.mark.parametrize("assert_present", [True, False])
@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_loading_comes_to_what_it_comes_to_with_one(remote, text, assert_present):
    remote.write_text(text)
    for key in KEYS:
        theirs, ours = outcome(one_load, key, assert_present), outcome(load_client_params, key, assert_present)
        if isinstance(theirs, type):
            assert isinstance(ours, type), (key, theirs, ours)
            assert issubclass(ours, theirs), (key, theirs, ours)
        else:
            assert ours == theirs, key
    assert remote.read_text() == text


@pytest.mark.parametrize("key", [None, "globus"])
def test_no_file_is_an_error_or_none_and_creates_nothing(home, key):
    with pytest.raises(FileNotFoundError, match=str(home)):
        load_client_params(key)
    assert load_client_params(key, assert_present=False) is None
    assert list(home.iterdir()) == []


def test_a_corrupt_file_is_reported_with_its_path_and_the_way_out_even_where_absence_is_allowed(remote):
    remote.write_text(f'{{"globus": {{"refresh_token": "{SECRET}')
    with pytest.raises(json.JSONDecodeError, match="move it away") as raised:
        load_client_params("globus", assert_present=False)
    assert str(remote) in raised.value.args[0]
    assert SECRET not in repr(vars(raised.value)) + str(raised.value)
    assert raised.value.__context__ is None
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)  # noqa: S301


def test_a_literal_dotted_key_of_old_versions_is_reported_with_the_way_out(remote):
    one_save({"b": 1}, "globus.admin")
    for call in (load_client_params, lambda key: save_client_params({"a": 1}, key)):
        with pytest.raises(ValueError, match="belongs into its section") as raised:
            call("globus")
        assert "globus.admin" in str(raised.value)
        assert str(remote) in str(raised.value)


def test_what_is_missing_is_named_with_what_is_there(remote):
    with pytest.raises(AttributeError, match=r"'server'.*default, admin"):
        load_client_params("globus.server")


@pytest.mark.parametrize(("there", "asked"), [("kachary", "kachery"), ("kachery", "kachary")])
def test_both_spellings_of_kachery_find_the_section(remote, there, asked):
    remote.write_text(json.dumps({there: {"default": {"zone": "a"}}}))
    assert load_client_params(f"{asked}.default").zone == "a"
    save_client_params({"zone": "b"}, f"{asked}.default")
    assert json.loads(remote.read_text()) == {there: {"default": {"zone": "b"}}}


# --- what is returned -----------------------------------------------------------------------------------------------


def test_the_parameters_are_a_named_tuple_as_ones(remote):
    ours, theirs = load_client_params("globus"), one_load("globus")
    assert ours == theirs
    assert ours._fields == theirs._fields
    assert ours._asdict() == theirs._asdict() == ours.as_dict() == theirs.as_dict()
    assert type(ours.default) is type(theirs.default) is dict
    assert isinstance(ours, IBLParams)
    assert ours.set("new", {"a": 1}).as_dict() == theirs.set("new", {"a": 1}).as_dict()
    assert ours.set("admin", 1).admin == 1
    assert ours.admin == {"b": 1}
    with pytest.raises(AttributeError):
        ours.missing  # noqa: B018
    with pytest.raises(AttributeError):
        ours.admin = 1


def test_the_parameters_survive_pickle_and_copy(remote):
    ours = load_client_params("globus")
    for twin in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours), copy.copy(ours)):  # noqa: S301
        assert twin == ours
        assert twin.default == ours.default


def test_no_representation_shows_a_value(remote):
    ours = load_client_params("globus.default")
    assert repr(ours) == str(ours) == f"{ours}" == pretty_repr(ours) == "IBLParams(local_path=***, refresh_token=***)"


# --- saving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "globus", "http", "globus.admin", "http.default", "http.default.extra"])
def test_what_we_save_one_loads_and_what_one_saves_we_load(remote, key):
    new = {"admin": {"x": [1, None, "ána"]}, "server": {}}
    save_client_params(new, key)
    assert one_load(key).as_dict() == load_client_params(key).as_dict() == new
    one_save(one_load().set("aws", {"default": {"profile_name": "lab"}}))
    assert load_client_params("aws.default").profile_name == "lab"
    assert load_client_params(key).as_dict().items() >= new.items()


def test_ones_parameters_and_ours_can_be_saved_by_either(remote):
    save_client_params(one_load("globus"), "http")
    one_save(load_client_params("globus"), "aws")
    save_client_params(load_client_params())
    assert json.loads(remote.read_text()) == {**GLOBUS, "http": GLOBUS["globus"], "aws": GLOBUS["globus"]}
    save_client_params({"default": load_client_params("globus.default")}, "http")
    assert one_load("http.default").local_path == "/data"


def test_without_a_key_the_whole_store_is_replaced(remote):
    save_client_params({"http": {"default": {}}})
    assert json.loads(remote.read_text()) == {"http": {"default": {}}}
    save_client_params({})
    assert json.loads(remote.read_text()) == {}


def test_with_a_key_the_section_is_replaced_and_the_others_stay(remote):
    save_client_params({"a": {}}, "http")
    save_client_params({"admin": {"c": 1}}, "globus")
    assert json.loads(remote.read_text()) == {"globus": {"admin": {"c": 1}}, "http": {"a": {}}}


def test_a_dotted_key_nests_and_keeps_its_siblings(remote):
    save_client_params({"c": 1}, "globus.admin")
    save_client_params({"d": 1}, "http.default")
    expected = {"globus": {**GLOBUS["globus"], "admin": {"c": 1}}, "http": {"default": {"d": 1}}}
    assert json.loads(remote.read_text()) == expected


def test_none_is_saved_as_null(remote):
    save_client_params(None, "globus.admin")
    assert load_client_params("globus.admin") is None
    save_client_params(None, "globus")
    assert one_load("globus") is load_client_params("globus") is None
    save_client_params({"c": 1}, "globus.admin")
    assert json.loads(remote.read_text()) == {"globus": {"admin": {"c": 1}}}


UNSAVABLE = [
    (None, None, AttributeError),
    (5, None, AttributeError),
    (5, "globus", AttributeError),
    ("text", "globus", AttributeError),
    ([], "globus", AttributeError),
    ({"globus": 5}, None, ValueError),
    ({"globus": {}, "http": None}, None, ValueError),
    ({"default": {"id": uuid.UUID(int=1)}}, "globus", TypeError),
    ({"default": {"local_path": Path("/data")}}, "globus", TypeError),
    ({"globus": {"default": {"id": object()}}}, None, TypeError),
    ({"my-lab": {}}, None, ValueError),
    ({"my-lab": {}}, "globus", ValueError),
    ({"Access key ID": 1}, "aws.default", ValueError),
    ({"default": {"Access key ID": 1}}, "aws", ValueError),
    ({"aws": {"default": {"set": 1}}}, None, ValueError),
    ({"a b": 1}, "globus.admin.deeper", ValueError),
    ({}, "my-lab", ValueError),
    ({}, "globus.my-lab", ValueError),
    ({}, "globus.", ValueError),
    ({}, ".", ValueError),
    ({}, "globus.admin.b.deeper", ValueError),
]


@pytest.mark.parametrize(("new", "key", "error"), UNSAVABLE)
def test_what_cannot_be_saved_is_refused_and_the_old_content_stays(remote, new, key, error):
    before = remote.read_bytes()
    with pytest.raises(error):
        save_client_params(new, key)
    assert remote.read_bytes() == before
    assert one_load().as_dict() == GLOBUS
    assert not list(remote.parent.glob("*.tmp"))


@pytest.mark.parametrize("text", ["{", "", "[]", "null"])
@pytest.mark.parametrize("key", [None, "globus", "globus.admin"])
def test_a_corrupt_file_is_never_written_over(remote, text, key):
    remote.write_text(text)
    with pytest.raises(json.JSONDecodeError, match=str(remote)):
        save_client_params({"admin": {}}, key)
    assert remote.read_text() == text


def test_a_bom_is_read_and_not_written_back(remote):
    remote.write_text(json.dumps(GLOBUS), encoding="utf-8-sig")
    save_client_params({"c": 1}, "globus.admin")
    assert one_load("globus.admin").c == 1


# --- many processes -------------------------------------------------------------------------------------------------

WORKERS, CYCLES = 8, 60


def _cycle(home, key, all_ready):
    os.environ["HOME"] = home
    all_ready.wait()
    for n in range(CYCLES):
        before = load_client_params(key, assert_present=False)
        assert n == 0 or before.default["n"] == n - 1
        save_client_params({"default": {"n": n, "padding": "x" * 200}}, key)


def test_eight_processes_save_sixty_times_each_and_nothing_is_lost(home):
    all_ready = FORKS.Barrier(WORKERS)
    keys = [f"section{worker}" if worker % 2 else f"globus.profile{worker}" for worker in range(WORKERS)]
    workers = [FORKS.Process(target=_cycle, args=(str(home), key, all_ready)) for key in keys]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * WORKERS
    assert [one_load(key).default["n"] for key in keys] == [CYCLES - 1] * WORKERS


# --- Prefect --------------------------------------------------------------------------------------------------------


def test_the_task_is_ones_function_and_stores_nothing(remote):
    assert load_params.fn("globus.admin").b == 1
    assert load_params.fn("http", assert_present=False) is None
    assert load_params.persist_result is False


FLOW = """
from prefect import flow, get_client, get_run_logger, task
from tasks.params import load_params

@task(persist_result=False)
def use(params):
    get_run_logger().info("loaded %s", params)
    assert params.refresh_token

@flow(persist_result=False)
def loads():
    use(load_params("globus.default"))
    use.submit(load_params.submit("globus.default")).result()
    whole = load_params()
    get_run_logger().info("all: %s", whole)
    with open(PATH, "a") as file:
        file.write("}")
    state = load_params("globus.default", return_state=True)
    assert state.is_failed(), state
    print("done", state.message)

loads()
with get_client(sync_client=True) as client:  # the server records task runs behind the flow's back
    while sum(bool(run.state and run.state.is_final()) for run in client.read_task_runs()) < TASK_RUNS:
        pass
"""


@pytest.fixture
def prefect(tmp_path):
    """The environment of a Prefect server of its own; its database lies in PREFECT_HOME."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_LOGGING_LEVEL": "DEBUG",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as server, requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(total=100, backoff_factor=0.1, backoff_max=1)))
        try:
            assert session.get(f"{environment['PREFECT_API_URL']}/health", timeout=30).ok
            yield environment
        finally:
            server.terminate()


@pytest.mark.slow
def test_no_secret_reaches_a_log_a_result_or_prefects_database(remote, prefect):
    script = FLOW.replace("PATH", repr(str(remote))).replace("TASK_RUNS", "6")
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=prefect, check=False, timeout=200
    )
    assert run.returncode == 0, run.stderr
    assert f"done Task run encountered an exception CorruptFileError: {remote}" in run.stdout
    assert "loaded IBLParams(local_path=***, refresh_token=***)" in run.stderr
    stored = {path: path.read_bytes() for path in Path(prefect["PREFECT_HOME"]).rglob("*") if path.is_file()}
    assert not [path for path in stored if path.parent.name == "storage"]  # no result, whatever its encoding
    assert any(b"CorruptFileError" in content for content in stored.values())  # the database is where we look
    assert not [path for path, content in stored.items() if SECRET.encode() in content]
    assert SECRET not in run.stdout + run.stderr
