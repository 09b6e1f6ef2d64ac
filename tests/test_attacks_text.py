"""Attacks by text: names and answers of strangers on their way into logs, terminals, pages, filters, files and code.

docs/security.md has the table of all attacks.
"""

from __future__ import annotations

import ast
import logging
import re
import string
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.talk import plain
from tasks.clients.verdicts import DownloadError, alyx_answer, error, http_status, printable
from tasks.model import Outcome, State
from tasks.reporting import failure_table
from tasks.rest.pages import check_filters, id_in
from tasks.selection import Selection
from tasks.telling.answers import escape
from tests.loopback import Reply, answering, client_of, code_of, serve

ROOT = Path(__file__).parents[1]
#: Clears the screen, retitles the window, moves the cursor up, begins another log line, turns text around.
EVIL = "a\x1b[2J\x1b]0;owned\x07\x9b1A\r\n2026-01-01 INFO all is well\u202e\u2028\x00.npy"


def moves_a_terminal(text):
    return [char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs")]


# --- logs and terminals ------------------------------------------------------------------------------------------


def test_no_error_moves_a_cursor_or_begins_another_line():
    made = [
        error("bad-path", EVIL),
        http_status(404, EVIL, body=f"<Error><Code>{EVIL}</Code></Error>".encode("utf-8", "replace")),
        alyx_answer(403, "application/json", '{"detail": "\\u001b[2J\\nowned"}', request=f"GET {EVIL}", login=EVIL),
        alyx_answer(502, "text/html", f"<title>{EVIL}</title>"),
    ]
    for failure in made:
        assert moves_a_terminal(failure.reason) == []
        assert moves_a_terminal(str(failure)) == []


def test_what_a_person_reads_in_a_terminal_is_only_text():
    assert moves_a_terminal(plain(EVIL).replace("\n", "")) == []
    assert plain("two\nlines") == "two\nlines"
    assert printable("Mäuse, 数据 and алф stay") == "Mäuse, 数据 and алф stay"


def test_a_notice_of_alyx_is_one_line_of_the_log(caplog):
    headers = {"Content-Type": "application/json", "Alyx-API-Notice": "old\x1b[2J\x9b1A"}
    with serve(answering(Reply(200, b"{}", headers))) as server, caplog.at_level(logging.WARNING):
        client_of(server.url).rest("labs", "read", id="a")
    (record,) = [one for one in caplog.records if "Alyx says" in one.getMessage()]
    assert moves_a_terminal(record.getMessage()) == []


@settings(deadline=None)
@given(st.text())
def test_printable_text_moves_nothing(text):
    assert moves_a_terminal(printable(text)) == []
    assert len(printable(text)) == len(text)


# --- Prefect's pages ---------------------------------------------------------------------------------------------

MARKUP = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[click](javascript:alert(1))", "![x](http://evil/x.png)",
    "http://evil.org/login", "www.evil.org", "ana@evil.org", "| a | b |", "`code`", "# title", "**bold**", "~~gone~~",
    "&lt;script&gt;", "<!-- -->", "\\[x](y)", "a\n\n# title", "[x]: http://evil.org",
]  # fmt: skip


@pytest.mark.parametrize("text", MARKUP)
def test_markup_of_strangers_is_shown_and_not_obeyed(text):
    escaped = escape(text)
    assert "<" not in escaped
    assert "\n" not in escaped
    assert not re.search(r"(?<!\\)[`*_\[\]()|#!~:@]", escaped.replace("\\\\", ""))
    assert not re.search(r"(?<!\\)(https?://|www\.)", escaped)


@settings(deadline=None)
@given(st.text(alphabet=string.punctuation + "ab w.\n\\"))
def test_every_character_that_means_something_is_escaped(text):
    shown = re.sub(r"\\([\\`*_\[\]()|#!~:@.])", "", escape(text))
    assert not set(shown) & set("\\`*_[]()|#!~:@<>\n")


def test_every_cell_of_the_table_is_escaped():
    """Prefect's pages render each cell of a table artifact as Markdown."""
    evil = "[Log in again](https://evil.org)"
    (row,) = failure_table([Outcome(evil, f"a/{evil}", State.FAILED, evil, reason=evil, next_step=evil, verdict=evil)])
    assert all("](" not in str(cell) and "https:" not in str(cell) for cell in row.values())


# --- filters that Alyx evaluates -----------------------------------------------------------------------------------

CODE = ["__import__('os').system('id')", "1') or ('1", "0b305d2f-04dc-4ef1-be1c-db18931391a1'] + [", "", "x" * 36]


@pytest.mark.parametrize("value", CODE)
def test_nothing_but_a_uuid_gets_into_a_filter_that_is_evaluated(value):
    with pytest.raises(ValueError, match=r"."):
        id_in("id", [value])


def test_a_uuid_in_any_spelling_becomes_its_plain_form():
    braces = "{0B305D2F-04DC-4EF1-BE1C-DB18931391A1}"
    assert id_in("id", [braces]) == "id__in,['0b305d2f-04dc-4ef1-be1c-db18931391a1']"


@pytest.mark.parametrize("field", ["dataset_ids", "session_ids"])
@pytest.mark.parametrize("value", CODE)
def test_a_selection_takes_no_code_for_an_id(field, value):
    with pytest.raises(DownloadError):
        Selection.read({field: [value]})


def test_a_filter_that_alyx_would_ignore_is_never_sent():
    assert code_of(lambda: check_filters("datasets", ["djang0"])) == "alyx-bad-request"


def test_names_do_not_leave_their_place_in_a_url():
    with serve(answering(Reply.of({}))) as server:
        client = client_of(server.url)
        client.rest("labs", "read", id="../../admin?x=1#y")
        client.request("GET", "/labs", query={"name": "a&lab=b#c\r\nX: 1"})
    first, second = server.asked
    assert first.path == "/labs/..%2F..%2Fadmin%3Fx%3D1%23y"
    assert second.query == {"name": "a&lab=b#c\r\nX: 1"}
    assert "X" not in second.headers


# --- files and code ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system [id]", "labs: !!python/name:os.system", "labs: !!python/module:os", "&a [*a]",
     "labs: &a [x, *a]", "? [a]\n: b"],
)  # fmt: skip
def test_a_selection_file_runs_nothing(text, tmp_path):
    (tmp_path / "selection.yaml").write_text(text)
    with pytest.raises(DownloadError) as refused:
        Selection.from_yaml(tmp_path / "selection.yaml")
    assert refused.value.code == "selection"


def calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}


@pytest.mark.parametrize("folder", ["tasks", "flows", "deployments", "scripts"])
def test_no_code_is_made_of_data(folder):
    """No eval, exec, pickle, marshal, shell or unsafe YAML, and no check of certificates that is switched off."""
    forbidden = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.unsafe_load", "yaml.full_load"}
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(), str(path))
        for name, options in calls(tree):
            assert name not in forbidden, f"{path}: {name}"
            assert options.get("shell", "False") == "False", f"{path}: {name}(shell=True)"
            assert options.get("verify") not in ("False", "None"), f"{path}: {name}(verify=False)"
        modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not modules & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "xmlrpc"}, path
