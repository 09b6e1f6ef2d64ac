"""A picture of the tables: CPU seconds, a bar a contender, ours in colour."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_WIDTH, _ROW, _LABEL, _BAR = 760, 18, 230, 420
_OURS, _THEIRS = "#2a6f97", "#b8c4cc"


@dataclass(frozen=True)
class Bars:
    """One table as bars: milliseconds of CPU a file, by contender; ours comes first."""

    title: str
    milliseconds: Mapping[str, float]


def draw(path: Path, charts: list[Bars]) -> None:
    """Write them as an SVG file, one below the other."""
    lines, y = [], _ROW
    for chart in charts:
        lines.append(f'<text x="8" y="{y}" font-weight="bold">{escape(chart.title)}</text>')
        y += 6
        for number, (name, value) in enumerate(chart.milliseconds.items()):
            lines += _bar(y, name.strip("*"), value, max(chart.milliseconds.values()), _THEIRS if number else _OURS)
            y += _ROW
        y += _ROW
    size = f'width="{_WIDTH}" height="{y}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    about = "<title>CPU milliseconds a file, by contender; less is better</title>"
    back = '<rect width="100%" height="100%" fill="white"/>'
    path.write_text("\n".join([head, about, back, *lines, "</svg>", ""]))


def _bar(y: int, name: str, value: float, most: float, colour: str) -> list[str]:
    length = max(1.0, value / most * _BAR)
    return [
        f'<text x="{_LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{_LABEL}" y="{y + 2}" width="{length:.1f}" height="{_ROW - 4}" fill="{colour}"/>',
        f'<text x="{_LABEL + length + 6:.1f}" y="{y + 12}">{value:.2f} ms</text>',
    ]
