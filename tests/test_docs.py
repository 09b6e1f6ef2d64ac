"""The documentation: it builds strictly and without a network, asks no other server, and has all that messages name."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from flows.cli import cli
from tasks.clients.verdicts import RULES
from tests.shell import ROOT

#: What a page may fetch: nothing from anywhere else. Links that a reader follows are no such thing.
FETCHED = re.compile(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built documentation; any warning of MkDocs fails."""
    place = tmp_path_factory.mktemp("site")
    unreachable = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(place)]
    environment = {**os.environ, **unreachable, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


def test_pages_fetch_nothing_from_anywhere_else(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 5
    foreign = {(page.name, url) for page in pages for url in FETCHED.findall(page.read_text())}
    assert {one for one in foreign if "canonical" not in one[1]} == set()


def test_the_catalogue_has_each_code_that_a_message_can_end_with(site):
    page = (site / "reference" / "errors.html").read_text()
    assert {code for code in RULES if f'id="{code}"' not in page} == set()


def test_the_command_page_has_each_verb(site):
    page = (site / "reference" / "command.html").read_text()
    assert {verb for verb in cli.commands if f'id="{verb}"' not in page} == set()


@pytest.mark.parametrize("code", ["alyx-login", "[alyx-login]"])
def test_explain_says_what_a_code_means(command, code):
    done = command("explain", code)
    rule = RULES["alyx-login"]
    said = " ".join(done.out.split())
    assert done.code == 0
    assert rule.meaning in said
    assert rule.next_step in said
    assert rule.verdict.meaning in said


def test_explain_names_the_nearest_code(command):
    done = command("explain", "alyx-logn")
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'alyx-login'?" in done.err
