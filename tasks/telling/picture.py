"""Draws a run as SVG: throughput over time, and what each source gave.

Prefect's pages drop an `<svg>` that stands in Markdown, but show one that is an image with a `data:` address: so it is
self-contained, without script, with a background of its own for light and dark pages.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tasks.clients.verdicts import printable
from tasks.telling.throughput import rates
from tasks.wording import files, human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tasks.telling.throughput import Rate, Sample

_WIDTH, _LEFT, _RIGHT = 760, 90, 20
_TOP, _HEIGHT, _ROW = 44, 110, 24
_INK, _FAINT, _PAPER = "#1f2933", "#9aa5b1", "#ffffff"
#: One colour a protocol, told apart by the colour-blind too.
_COLOURS = {"aws": "#e69f00", "http": "#0072b2", "globus": "#009e73", "kachary": "#cc79a7"}
#: Sources that get a bar.
_MOST_BARS = 8


def picture(samples: list[Sample], given: Mapping[tuple[str, str], tuple[int, int]]) -> str:
    """Return the SVG.

    Args:
        samples: Bytes over time (`Throughput.samples`).
        given: Files and bytes by protocol and repository (`Tally.given`).
    """
    largest = sorted(given.items(), key=lambda item: -item[1][1])[:_MOST_BARS]
    height = _TOP + _HEIGHT + 64 + _ROW * len(largest)
    svg = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {height}")
    svg.attrib |= {"width": str(_WIDTH), "height": str(height), "font-family": "sans-serif", "font-size": "13"}
    ET.SubElement(svg, "rect", width="100%", height="100%", rx="8", fill=_PAPER)
    _draw_rates(svg, rates(samples))
    _draw_bars(svg, largest, _TOP + _HEIGHT + 52)
    return ET.tostring(svg, encoding="unicode")


def as_markdown(svg: str, title: str) -> str:
    """An image that Prefect's pages show."""
    return f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _draw_rates(svg: ET.Element, steps: list[Rate]) -> None:
    _say(svg, 16, 22, "Throughput", weight="bold")
    floor, end = _TOP + _HEIGHT, steps[-1].end if steps else 0
    most = max((step.rate for step in steps), default=0)
    for y, rate in ((floor, 0), (_TOP, most)):
        ET.SubElement(svg, "line", x1=str(_LEFT), x2=str(_WIDTH - _RIGHT), y1=str(y), y2=str(y), stroke=_FAINT)
        _say(svg, _LEFT - 8, y + 4, f"{human_bytes(rate)}/s" if rate else "0", anchor="end")
    _say(svg, _LEFT, floor + 18, "0 s")
    _say(svg, _WIDTH - _RIGHT, floor + 18, f"{end:,.0f} s", anchor="end")
    if most:
        points = " ".join(_points(steps, floor, most))
        ET.SubElement(svg, "polygon", points=points, fill=_COLOURS["http"], opacity="0.75")


def _points(steps: list[Rate], floor: float, most: float) -> Iterator[str]:
    """Corners of the area below the rates, a step for each, between two corners on the floor."""
    wide = (_WIDTH - _LEFT - _RIGHT) / steps[-1].end
    yield f"{_LEFT + steps[0].begin * wide:.1f},{floor}"
    for step in steps:
        height = floor - _HEIGHT * step.rate / most
        yield f"{_LEFT + step.begin * wide:.1f},{height:.1f}"
        yield f"{_LEFT + step.end * wide:.1f},{height:.1f}"
    yield f"{_LEFT + steps[-1].end * wide:.1f},{floor}"


def _draw_bars(svg: ET.Element, given: list[tuple[tuple[str, str], tuple[int, int]]], top: float) -> None:
    if not given:
        return
    _say(svg, 16, top, "What each source gave", weight="bold")
    most = max(size for _, (_, size) in given) or 1
    for row, ((protocol, source), (count, size)) in enumerate(given):
        y = top + 10 + _ROW * row
        width = max((_WIDTH - 440) * size / most, 2)
        colour = _COLOURS.get(protocol, _FAINT)
        ET.SubElement(svg, "rect", x="250", y=f"{y}", width=f"{width:.1f}", height=f"{_ROW - 8}", fill=colour)
        _say(svg, 240, y + 13, f"{source} ({protocol})", anchor="end")
        _say(svg, 258 + width, y + 13, f"{human_bytes(size)}, {files(count)}")


def _say(svg: ET.Element, x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> None:
    place = {"x": f"{x:.0f}", "y": f"{y:.0f}", "fill": _INK, "text-anchor": anchor, "font-weight": weight}
    ET.SubElement(svg, "text", place).text = printable(text)
