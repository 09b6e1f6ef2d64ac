"""The fenced blocks of README and documentation, as the tests run them.

A block that is not run says why in the line before it: `<!-- not run: the reason -->`. A block with a title is a file
of that name, for the blocks after it on the same page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tests.shell import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?"
    r'^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
#: What a reader has instead of the sandbox, and the sandbox's word for it.
_ELSEWHERE = {
    ".venv/bin/": "",
    "/data/alyx": "data/alyx",
    "worker start --pool alyx": "worker start --pool alyx --run-once",  # else it stays, as it should
}
#: What is there already: a reader's own login, a server on a free port, an environment.
_GIVEN = re.compile(
    r"^(export (ALYX_|GLOBUS_CLIENT_|PREFECT_API_URL)|(\.venv/bin/)?prefect server start|make setup).*$", re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        line: Where it begins.
        reason: Why it is not run, "" where it is.
        below: Whether nothing stands between it and the block before.
    """

    page: str
    line: int
    language: str
    title: str
    text: str
    reason: str
    below: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @cached_property
    def here(self) -> str:
        """The text, as it is run in the sandbox."""
        text = _GIVEN.sub("", self.text)
        for there, here in _ELSEWHERE.items():
            text = text.replace(there, here)
        return text


def blocks(path: Path) -> Iterator[Block]:
    """Yield the blocks of a page, in their order."""
    text, end = path.read_text(), 0
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        fields = found["language"], found["title"] or "", found["text"], found["reason"] or ""
        below = bool(end) and not text[end : found.start()].strip()
        end = found.end()
        yield Block(path.relative_to(ROOT).as_posix(), line, *fields, below)


def pages() -> list[Path]:
    """All pages that a person reads."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def plain(text: str) -> str:
    """Text without the numbers, which differ from run to run, and without the columns that they fill."""
    return re.sub(r" +", " ", re.sub(r"\d[\d,.]*", "N", text))
