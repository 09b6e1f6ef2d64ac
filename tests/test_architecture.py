"""The house: which way imports run, how large a file may grow, and what of the seed stays as it is."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from one.remote import base as one

from tasks import clients
from tasks.clients import (
    ALYX_JSON,
    PROC_PRECEDENCE,
    DownloadClient,
    DownloadError,
    Verdict,
    WireOptions,
    client_class,
    client_for,
    protocol_name,
)

ROOT = Path(__file__).parents[1]
OURS = {"flows", "tasks", "deployments", "tests"}
#: Files that may be longer than 300 lines, each with its reason.
LONG_FILES = {
    "tasks/clients/partials.py": "a partial, and the directory that it lies in",
    "tasks/clients/verdicts/rules.py": "one table of every error; it is read row by row",
    "flows/cli.py": "one function a verb",
    "tasks/ledger.py": "one class, and the few functions that open its database",
}
LONGEST_FILE = 300
LONGEST_CLIENT = 250


def files(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def name(path):
    return path.relative_to(ROOT).as_posix()


def imported(path):
    """Every module that a file names in an import, wherever it stands; relative ones are spelt out."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*start, *filter(None, [node.module])))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def breaks(path, allowed):
    """Imports of ours, and of Prefect, that a file's room does not allow; `allowed` are beginnings of names."""
    watched = [module for module in imported(path) if module.partition(".")[0] in {*OURS, "prefect"}]
    return [module for module in watched if not f"{module}.".startswith(allowed)]


@pytest.mark.parametrize(
    ("folder", "pattern", "allowed"),
    [
        ("tasks/clients", "*.py", ("tasks.clients.",)),
        ("tasks", "**/*.py", ("tasks.", "prefect.")),
        ("tasks/rest", "*.py", ("tasks.rest.", "tasks.clients.", "tasks.hints.", "tasks.model.", "prefect.")),
        ("tasks/plan", "*.py", ("tasks.plan.", "tasks.clients.", "tasks.layout.", "tasks.model.")),
        ("flows", "*.py", ("flows.", "tasks.", "deployments.", "prefect.")),
        ("deployments/sandbox", "**/*.py", ("deployments.sandbox.",)),
    ],
)
def test_imports_run_one_way(folder, pattern, allowed):
    paths = sorted((ROOT / folder).glob(pattern))
    assert paths
    found = {name(path): wrong for path in paths if (wrong := breaks(path, allowed))}
    assert not found


def test_an_import_is_found_wherever_it_stands(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / "tasks" / "clients" / "x.py"
    path.parent.mkdir(parents=True)
    path.write_text(
        "import os\n"
        "def inside():\n"
        "    import prefect.flows as f\n"
        "    from .. import alyx\n"
        "    from ..model import Json\n"
        "    from . import wire\n"
        "    from tasks import ledger\n"
        "    from tasksets import other\n"
    )
    assert breaks(path, ("tasks.clients.",)) == ["prefect.flows", "tasks.alyx", "tasks.model.Json", "tasks.ledger"]


def test_only_the_demos_know_the_sandbox():
    users = {name(path) for path in files("flows") if any(m.startswith("deployments.sandbox") for m in imported(path))}
    assert users <= {"flows/cli.py", "flows/demo.py", "flows/fault_demo.py"}


def test_the_clients_load_neither_prefect_nor_the_rest_of_us():
    code = (
        "import sys, tasks.clients as c; [c.client_class(p) for p in c._CLIENTS];"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] in {'prefect', 'flows', 'deployments'}"
        " or m.startswith('tasks.') and not m.startswith('tasks.clients')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_help_does_not_wait_for_prefect():
    code = (
        "import sys; from click.testing import CliRunner; from flows.cli import cli;"
        "assert CliRunner().invoke(cli, ['fetch', '--help']).exit_code == 0; print('prefect' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def lines(path):
    return len(path.read_text().splitlines())


def test_a_file_is_one_idea():
    long = {name(path) for path in files("flows", "tasks", "deployments") if lines(path) > LONGEST_FILE}
    assert long <= LONG_FILES.keys()


def test_a_client_is_small():
    modules = [sys.modules[client_class(protocol).__module__] for protocol in clients._CLIENTS]
    assert modules
    assert {module.__name__ for module in modules if lines(Path(module.__file__)) > LONGEST_CLIENT} == set()


def test_no_work_is_left_as_a_note():
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    found = [name(path) for path in files("flows", "tasks", "deployments", "tests") for mark in marks
             if mark in path.read_text()]  # fmt: skip
    assert not found


# --- what stays stable -----------------------------------------------------------------------------------


def test_ones_constants_are_ones():
    assert one.ALYX_JSON == ALYX_JSON
    assert one.PROC_PRECEDENCE == PROC_PRECEDENCE


@pytest.mark.parametrize("spelling", ["kachery", "kachary"])
def test_both_spellings_are_one_protocol(spelling):
    assert protocol_name(spelling) == "kachary"


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(ValueError, match=r"'htpp' is not a protocol; did you mean 'http'\? There are aws, http"):
        client_for("htpp", repository={})


def members(cls):
    return {name: inspect.getattr_static(cls, name) for name in dir(cls) if not name.startswith("_")}


def test_a_client_has_the_four_methods_of_the_seed_and_no_other_that_is_abstract_or_static():
    theirs = members(one.DownloadClient)
    ours = {
        method: member
        for method, member in members(DownloadClient).items()
        if isinstance(member, staticmethod) or getattr(member, "__isabstractmethod__", False)
    }
    assert ours.keys() == theirs.keys() == {"to_address", "download_file", "setup", "repo_from_alyx"}
    for method, seed in theirs.items():
        assert isinstance(ours[method], staticmethod) == isinstance(seed, staticmethod), method
        abstract = getattr(seed, "__isabstractmethod__", False)
        assert getattr(ours[method], "__isabstractmethod__", False) == abstract, method


def test_a_client_is_a_real_abc():
    assert DownloadClient.__abstractmethods__ == {"to_address", "download_file", "setup"}
    with pytest.raises(TypeError, match="abstract"):
        DownloadClient()


def parameters(function):
    return [(p.name, p.kind.name, p.default) for p in inspect.signature(function).parameters.values()]


EITHER, KEYWORD, MORE = "POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY", "VAR_KEYWORD"
EMPTY = inspect.Parameter.empty
SELF = ("self", EITHER, EMPTY)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (
            client_for,
            [
                ("protocol", EITHER, EMPTY),
                ("repository", EITHER, EMPTY),
                ("params", EITHER, None),
                ("options", EITHER, None),
            ],
        ),
        (DownloadClient.to_address, [SELF, ("data_path", EITHER, EMPTY), ("dataset_id", EITHER, None)]),
        (
            DownloadClient.download_file,
            [
                SELF,
                ("file_address", EITHER, EMPTY),
                ("target", EITHER, EMPTY),
                ("size", KEYWORD, None),
                ("digest", KEYWORD, None),
            ],
        ),
        (DownloadClient.repo_from_alyx, [("name", EITHER, EMPTY), ("alyx", EITHER, EMPTY)]),
        (DownloadClient.setup, [("profile", EITHER, "default"), ("fields", MORE, EMPTY)]),
    ],
)  # fmt: skip
def test_the_interface_stays(function, expected):
    assert parameters(function)[: len(expected)] == expected
    assert all(kind == KEYWORD for _, kind, _ in parameters(function)[len(expected) :])


def test_the_options_of_the_wire_stay():
    options = WireOptions()
    assert (options.attempts, options.connect_seconds, options.stall_seconds) == (5, 10, 60)
    assert options.bytes_per_second is None


def test_an_error_has_a_verdict_a_reason_and_a_next_step():
    failure = DownloadError(Verdict.SKIP_FILE, "The file is gone.", "Put it back.")
    assert (failure.verdict, failure.reason, failure.next_step) == ("SKIP_FILE", "The file is gone.", "Put it back.")
    assert str(failure) == "The file is gone. Put it back."
    assert set(Verdict) == {"RETRY", "NEXT_SOURCE", "SKIP_FILE", "STOP_RUN"}
