"""`--report`: one page that says how a run went, needs no network, and takes strangers' words for words."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from flows.fetched import Course, Fetched
from flows.html_report import source_rows, write_report
from tasks.clients.fetching import Receipt
from tasks.clients.verdicts import DownloadError, error
from tasks.model import Outcome, State, Summary, Transfer
from tasks.telling.throughput import Sample
from tasks.transfer.carrying import failed
from tasks.transfer.tally import MOST_SLOW, Tally

HOSTILE = "<script>alert(1)</script>&\"'$x^2$"


def outcome(path, state=State.PUBLISHED, source="flatiron", protocol="http", size=1000, seconds=1.0, **fields):
    return Outcome(f"id-{path}", path, state, source, protocol, size=size, attempts=1, seconds=seconds, **fields)


def fetched(*outcomes, **course):
    summary = Summary.of(outcomes, seconds=12.5)
    samples = [Sample(0, 0), Sample(2, 4_000_000), Sample(4, 5_000_000)]
    course = {"samples": samples, "slowest": Tally.of(outcomes).slowest, **course}
    return Fetched(SimpleNamespace(root="/data"), summary, outcomes, Course(**course))


class Text(HTMLParser):
    """What a reader sees, and which elements there are."""

    def __init__(self, page):
        super().__init__()
        self.words, self.tags = [], set()
        self.feed(page)
        self.all = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def written(tmp_path):
    def write(*outcomes, **course):
        write_report(fetched(*outcomes, **course), tmp_path / "run.html")
        return (tmp_path / "run.html").read_text()

    return write


def test_it_says_how_the_run_went(written):
    lost = outcome("lab/lost.npy", State.FAILED, seconds=9.5, reason="It is gone.", next_step="Ask.", code="not-found")
    page = Text(written(outcome("lab/a.npy"), outcome("lab/b.npy", source="aws_lab", protocol="aws", size=3000), lost))
    assert page.tags >= {"svg", "table"}
    for words in ("1 of 3 files failed", "files=3 bytes=0 published=2", "Throughput", "MB/s", "aws_lab (aws)"):
        assert words in page.all
    assert "lab/lost.npy It is gone. [not-found] Ask." in page.all
    assert page.all.index("lab/lost.npy") < page.all.index("lab/a.npy")  # the slowest first


def test_share_and_failure_rate_of_each_source():
    done = fetched(
        *(outcome(f"{n}.npy", size=3000) for n in range(3)),
        outcome("c.npy", source="aws_lab", protocol="aws", size=1000),
        refusals={("http", "flatiron"): (1, "503"), ("aws", "dead"): (4, "refused")},
    )
    rows = {row.repository: row for row in source_rows(done)}
    assert (rows["flatiron"].share, rows["flatiron"].failure_rate) == (0.9, 0.25)
    assert (rows["aws_lab"].share, rows["aws_lab"].failure_rate) == (0.1, 0.0)
    assert (rows["dead"].share, rows["dead"].failure_rate) == (0.0, 1.0)


def test_words_of_strangers_are_no_markup(written):
    lost = outcome(HOSTILE, State.FAILED, source=HOSTILE, reason=HOSTILE, next_step=HOSTILE)
    page = written(outcome("a.npy", source=HOSTILE), lost, refusals={("http", HOSTILE): (1, HOSTILE)})
    assert "script" not in Text(page).tags
    assert HOSTILE in Text(page).all


def test_it_asks_nobody(written):
    page = written(outcome("a.npy"))
    assert re.findall(r"""(?:src|href)=["'](?!data:|#)([^"']+)""", page) == []
    assert "@import" not in page


def test_a_run_with_nothing_to_do_has_one_too(written):
    page = Text(written(samples=(), slowest=()))
    assert "No source was asked" in page.all
    assert "Nothing: all that can be had is there" in page.all


def test_a_run_of_many_failures_stays_a_page(written):
    page = written(*(outcome(f"{n}.npy", State.FAILED) for n in range(5000)))
    assert len(page) < 2_000_000
    assert "and 4,000 more" in Text(page).all


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DownloadError, match=r"folder"):
        write_report(fetched(), tmp_path / "folder")


def test_the_slowest_are_kept_and_few(tmp_path):
    tally = Tally.of(outcome(str(n), seconds=float(n % 97)) for n in range(500))
    assert len(tally.slowest) == MOST_SLOW
    assert tally.slowest[-1].seconds == 96
    assert [one.seconds for one in tally.slowest] == sorted(one.seconds for one in tally.slowest)


def test_what_failed_took_its_time_too():
    transfer = Transfer("id", "a.npy", 1, "", ())
    assert failed(transfer, error("not-found"), {}, Receipt(0, 3, 7.5)).seconds == 7.5


@pytest.mark.parametrize("arguments", [["--report", "/nowhere/run.html"], ["--report", "."]])
def test_what_cannot_be_written_is_refused_before_the_run(arguments, command):
    done = command("retry", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "director" in done.err


def test_without_the_extra_the_way_to_it_is_told(command, monkeypatch, tmp_path):
    monkeypatch.setattr("flows.run_options.find_spec", lambda _: None)
    done = command("retry", "--report", tmp_path / "run.html")
    assert done.code == 2
    assert "pip install 'prefect-alyx[report]'" in " ".join(done.err.split())
