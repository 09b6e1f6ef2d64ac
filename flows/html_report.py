"""Writes what became of a run as one HTML file: curves, sources, the slowest files, and what is missing.

The curves are SVG in the page, so it needs neither a network nor a script. The template escapes what strangers wrote.
"""

from __future__ import annotations

import io
import warnings
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tasks.clients.verdicts import os_error
from tasks.model import State
from tasks.telling.throughput import rates
from tasks.transfer.tally import Tally
from tasks.wording import human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from flows.fetched import Fetched
    from tasks.telling.throughput import Sample

#: Missing files that are named before the rest is only counted; a page of more helps nobody.
_MOST_ROWS = 1000
#: Words of strangers are no formulas, and text stays text that can be searched and copied.
_STYLE: Any = {"text.parse_math": False, "svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "prefect-alyx"}
_WIDTH_INCHES = 8.0


class SourceRow(NamedTuple):
    """What one source gave, and how often it could not."""

    protocol: str
    repository: str
    files: int
    bytes: int
    share: float
    refused: int
    why: str

    @property
    def failure_rate(self) -> float:
        """Share of the times it was asked for a file that it could not give it."""
        return self.refused / (self.files + self.refused)


def write_report(fetched: Fetched, path: Path) -> None:
    """Write the report of a run.

    Raises:
        DownloadError: what the disk says.
    """
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that no font here has: the reader's browser may have it
        page = html(fetched)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as failure:
        raise os_error(failure, path) from failure


def html(fetched: Fetched) -> str:
    """Return the page."""
    missing = (one for one in fetched.outcomes if one.state in (State.FAILED, State.SKIPPED))
    rows = source_rows(fetched)
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["bytes"] = human_bytes
    return environment.get_template("report.html.jinja").render(
        fetched=fetched,
        now=datetime.now().astimezone(),
        sources=rows,
        curve=_curve(fetched.course.samples),
        bars=_bars(rows),
        slowest=[one for one in reversed(fetched.course.slowest) if one.seconds > 0],
        missing=list(islice(missing, _MOST_ROWS)),
        more=sum(1 for _ in missing),
    )


def source_rows(fetched: Fetched) -> list[SourceRow]:
    """Each source that gave or refused something, the one that gave most first."""
    given, refusals = Tally.of(fetched.outcomes).given, fetched.course.refusals
    total = sum(size for _, size in given.values())
    return sorted(_source_rows(given, refusals, total), key=lambda row: (-row.bytes, row.protocol, row.repository))


def _source_rows(
    given: Mapping[tuple[str, str], tuple[int, int]], refusals: Mapping[tuple[str, str], tuple[int, str]], total: int
) -> Iterator[SourceRow]:
    for key in given.keys() | refusals.keys():
        files, size = given.get(key, (0, 0))
        yield SourceRow(*key, files, size, size / total if total else 0.0, *refusals.get(key, (0, "")))


def _curve(samples: Sequence[Sample]) -> Markup:
    """Throughput over time; nothing for a run too short to have any."""
    steps = rates(list(samples))
    if not steps:
        return Markup()
    figure = Figure(figsize=(_WIDTH_INCHES, 2.4), layout="constrained")
    axes = figure.subplots()
    edges = [steps[0].begin, *(step.end for step in steps)]
    axes.stairs([step.rate for step in steps], edges, fill=True, alpha=0.6)
    axes.set(xlabel="seconds", ylim=(0, None), title="Throughput")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{human_bytes(rate)}/s"))
    return _svg(figure)


def _bars(rows: Sequence[SourceRow]) -> Markup:
    """What each source gave."""
    given = [row for row in reversed(rows) if row.bytes]
    if not given:
        return Markup()
    figure = Figure(figsize=(_WIDTH_INCHES, 0.8 + 0.3 * len(given)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([f"{row.repository} ({row.protocol})" for row in given], [row.bytes for row in given])
    axes.bar_label(bars, [human_bytes(row.bytes) for row in given], padding=3)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: human_bytes(size)))
    axes.set(title="What each source gave")
    axes.margins(x=0.12)
    return _svg(figure)


def _svg(figure: Figure) -> Markup:
    """A figure as an element of a page, without the head of a file."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return Markup(text[text.index("<svg") :])  # noqa: S704  (matplotlib escapes the texts of a figure)
