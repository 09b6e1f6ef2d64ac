"""Each `ONE_*` variable that ONE reads is heeded here, or named in the documentation as one that is not."""

from __future__ import annotations

import re
from pathlib import Path

import one
import pytest

from flows.cli import cli
from flows.options import selection_from
from tasks.clients.verdicts import DownloadError
from tasks.settings import AlyxSettings
from tests.shell import ROOT


def test_the_documentation_names_every_variable_of_one():
    sources = Path(one.__file__).parent.rglob("*.py")
    read = {name for path in sources for name in re.findall(r"environ[^\n]*?['\"](ONE_[A-Z_]+)", path.read_text())}
    page = (ROOT / "docs" / "how-to" / "from-one.md").read_text()
    assert "ONE_HTTP_DL_THREADS" in read
    assert {name for name in read if f"`{name}`" not in page} == set()


def test_one_http_dl_threads_is_how_many_files_at_once(monkeypatch):
    monkeypatch.setenv("ONE_HTTP_DL_THREADS", "1")
    assert AlyxSettings.read().connections == 1
    monkeypatch.setenv("PREFECT_INTEGRATIONS_ALYX_CONNECTIONS", "3")
    assert AlyxSettings.read().connections == 3


def test_one_http_dl_threads_that_is_no_number_is_told(monkeypatch):
    monkeypatch.setenv("ONE_HTTP_DL_THREADS", "many")
    with pytest.raises(DownloadError, match="connections: Input should be a valid integer"):
        AlyxSettings.read()


def selected(*arguments):
    with cli.commands["plan"].make_context("plan", list(arguments)) as context:
        given = {name: value for name, value in context.params.items() if name not in ("root", "as_json")}
    return selection_from(given)


def test_one_revision_last_before_is_the_rule_unless_another_is_given(monkeypatch):
    monkeypatch.setenv("ONE_REVISION_LAST_BEFORE", "2024-05-06")
    chosen = selected("--lab", "cortexlab")
    assert (chosen.revision_rule, chosen.revision) == ("last_before", "2024-05-06")
    assert selected("--lab", "cortexlab", "--revision-rule", "all").revision_rule == "all"
    monkeypatch.delenv("ONE_REVISION_LAST_BEFORE")
    assert selected("--lab", "cortexlab").revision_rule == "default"
