"""The documentation and a report, opened in a browser that has no network: the console complains of nothing."""

from __future__ import annotations

import os
import re
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import sync_playwright

from deployments.sandbox.lab import Lab
from flows.fetched import Course, Fetched
from flows.html_report import write_report
from tasks.downloading import download
from tasks.model import Summary
from tasks.preparing import prepare
from tasks.selection import Selection
from tasks.telling.throughput import Throughput
from tests.browser import executable
from tests.lab_runs import opened, settings
from tests.shell import ROOT
from tests.test_docs import site  # noqa: F401  (a fixture)

pytestmark = pytest.mark.slow
_ELSEWHERE = re.compile(r"https?://(?!127\.0\.0\.1[:/])")
PICTURES = ROOT / "docs" / "pictures"
#: Pictures in the documentation are made by this test: `UPDATE_PICTURES=1 pytest -m slow tests/test_site_pages.py`.
UPDATE = os.environ.get("UPDATE_PICTURES")


class Tab:
    """A tab, and what its console and its network complained of."""

    def __init__(self, page):
        self.page, self.complaints = page, []
        page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        page.on("pageerror", lambda failure: self.complaints.append(str(failure)))
        page.on("requestfailed", self._failed)
        page.on("request", lambda asked: _ELSEWHERE.match(asked.url) and self.complaints.append(asked.url))

    def _failed(self, asked):
        if asked.failure != "net::ERR_ABORTED":  # what a page still wanted when it was left
            self.complaints.append(f"{asked.failure}: {asked.url}")

    def open(self, url):
        """Load a page, let its scripts run, and return the complaints."""
        self.complaints.clear()
        self.page.goto(url, wait_until="networkidle")
        return list(self.complaints)


@pytest.fixture(scope="module")
def tab():
    if not executable():
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox", "--disable-gpu"])
        yield Tab(program.new_page(viewport={"width": 1100, "height": 800}))
        program.close()


@pytest.fixture
def served(site):  # noqa: F811
    handler = partial(_Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


PAGES = ("index.html", "quickstart.html", "reference/errors.html", "reference/python.html", "operations.html")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_from_a_server(tab, served, name):
    assert tab.open(f"{served}/{name}") == []


@pytest.mark.parametrize("name", PAGES)
def test_a_page_from_a_disk(tab, site, name):  # noqa: F811
    assert tab.open((site / name).as_uri()) == []


def test_the_search_finds_an_error_from_a_disk(tab, site):  # noqa: F811
    assert tab.open((site / "index.html").as_uri()) == []
    tab.page.get_by_role("textbox", name="Search").fill("expired token")
    tab.page.wait_for_selector(".md-search-result__item")
    assert tab.complaints == []


def test_the_front_page_looks_as_in_the_picture(tab, site, tmp_path):  # noqa: F811
    tab.open((site / "index.html").as_uri())
    _picture(tab, "docs.png", tmp_path)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run over the sandbox's whole lab, without Prefect."""
    with Lab() as lab:
        for name, value in lab.environment().items():
            monkeypatch.setenv(name, value)
        plan = prepare(Selection.read({"everything": True}), tmp_path / "data", settings())
        transfers = [one for number in range(len(plan.batches)) for one in plan.transfers(number)]
        throughput, begin = Throughput(), time.monotonic()
        throughput.note(0, 0)
        with opened(plan.root) as run:
            outcomes = []
            for one in download(run, transfers):
                outcomes.append(one)
                throughput.note(time.monotonic() - begin, run.bytes_done())
            course = Course(throughput.samples, run.switchboard.refusals, run.tally.slowest)
        seconds = time.monotonic() - begin
        yield Fetched(plan, Summary.of(outcomes, seconds=seconds), tuple(outcomes), course)


def test_a_report(tab, run, tmp_path):
    write_report(run, tmp_path / "run.html")
    assert tab.open((tmp_path / "run.html").as_uri()) == []
    assert tab.page.locator("svg").count() == 2
    _picture(tab, "report.png", tmp_path)


def _picture(tab, name, folder):
    """Take the picture; where it is wanted, for the documentation."""
    path = (PICTURES if UPDATE else folder) / name
    tab.page.screenshot(path=path)
    assert 5_000 < path.stat().st_size < 200_000
