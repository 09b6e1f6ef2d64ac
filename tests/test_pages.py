"""Prefect's own pages in a real browser: the words that a person needs are on them.

With PICTURES=directory the pages are kept there: `make pictures` renews those of the documentation.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import browser
from tests.site import started, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(browser.executable() is None, reason="Chromium is not installed: apt-get install chromium"),
]

PICTURES = os.environ.get("PICTURES")
QUESTIONS = ("How much is left?", "Which source is bad?", "What failed, and why?", "What will be tried next?")
NEXT_STEP = "Compare the file on the server with Alyx: one of the two is wrong."
SCREEN = 900
#: Looked up each time: a page that is drawn anew has another image.
DRAWN = """alt => {
    const image = document.querySelector(`img[alt="${alt}"]`);
    image?.scrollIntoView({block: "end"});
    return image?.complete && image.naturalWidth === 760;
}"""
FIELDS = ("Labs, by name.", "Subjects, by nickname.", "Days of sessions: 2024-03-01", "Worst quality that is taken")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with started(tmp_path_factory.mktemp("pages")) as site:
        site.deploy()
        # Slow enough for a page that takes long to be drawn.
        site.start_worker(
            PREFECT_INTEGRATIONS_ALYX_BYTES_PER_SECOND="300000", PREFECT_INTEGRATIONS_ALYX_CONNECTIONS="8"
        )
        yield site


@pytest.fixture(scope="module")
def run(site):
    """A mirror run that has begun."""
    run = site.trigger("mirror/nightly")
    until(lambda: site.bytes_sent() > 1_000_000, 120, "bytes")
    return run


@pytest.fixture(scope="module")
def page(site, run):
    with browser.browser(site.api.removesuffix("/api"), PICTURES and Path(PICTURES)) as page:
        yield page


@pytest.fixture(scope="module")
def ended(site, run, page):
    assert site.ended(run)["state_name"] == "Partial"
    return run


def artifact(site, run, key):
    found = site.post("artifacts/filter", artifacts={"key": {"any_": [key]}}, flow_runs={"id": {"any_": [run]}})
    return f"/artifacts/artifact/{found[0]['id']}"


def test_while_it_runs_it_says_how_much_is_left_and_how_long_that_takes(site, run, page):
    path = artifact(site, run, "alyx-progress")

    def moving():
        text = page.read(path, "of 13.4 MB", *QUESTIONS)
        return text if " are left: about " in text else None

    text = until(moving, 60, "a pace")  # what failed is told once the small files of its batch are through
    assert site.state(run) == "RUNNING"
    assert "MB/s" in text or "kB/s" in text
    assert "is resumed by the next one" in text
    page.keep("progress")


def test_the_page_of_the_run(site, ended, page):
    name = site.run(ended)["name"]
    assert name.startswith(
        "mirror everything, all revisions · churchlandlab, cortexlab 2019-04-01..2020-11-10 · 57 files"
    )
    page.read(f"/runs/flow-run/{ended}", name, "Partial", "Task runs", "nightly", "published=56", "failed=1")
    page.click("Task Runs")
    page.wait("batch 1 of 1 · churchlandlab, cortexlab 2019-04-01..2020-11-10 · 57 files · 13.4 MB", "plan")
    page.keep("run")
    page.click("Artifacts")
    page.wait("alyx-summary", "alyx-failures", "alyx-progress")


@pytest.mark.parametrize("pages", ["", "/v2"])
def test_the_summary_answers_four_questions_on_one_screen(site, ended, page, pages):
    path = f"{pages}{artifact(site, ended, 'alyx-summary')}"
    page.read(path, "1 of 60 files failed", *QUESTIONS, "Which source gave what?", "Where is it?")
    page.wait("spikes.times.npy", NEXT_STEP)  # not read at once: a page that is drawn anew is empty for a moment
    page.keep(f"summary{pages.replace('/', '-')}")
    tops = [page.tab.get_by_role("heading", name=question).bounding_box()["y"] for question in QUESTIONS]
    assert max(tops) < SCREEN


@pytest.mark.parametrize("pages", ["", "/v2"])
def test_the_picture_of_the_summary_is_drawn(site, ended, page, pages):
    page.read(f"{pages}{artifact(site, ended, 'alyx-summary')}", "Which source gave what?")
    page.tab.wait_for_function(DRAWN, arg="throughput, and what each source gave", timeout=30_000)
    page.keep(f"picture{pages.replace('/', '-')}")


def test_the_table_of_what_failed_says_the_next_step(site, ended, page):
    page.read(artifact(site, ended, "alyx-failures"), "spikes.times.npy", "next step", "Compare the file on the server")
    page.keep("failures")


def test_the_form_of_a_download_says_what_each_field_is(site, ended, page):
    form = site.get("deployments/name/download/on-demand")["id"]
    page.read(f"/deployments/deployment/{form}/run?parameters={{}}", "selection", *FIELDS, "root")
    page.keep("form")


def test_the_event_feed_names_our_events(site, ended, page):
    page.read("/events", "alyx.run.finished")
    page.keep("events")
