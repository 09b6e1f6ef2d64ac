"""What an examination found: good, worth knowing, or wrong, and then with the way out."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from tasks.clients.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clients.verdicts import DownloadError
    from tasks.model import Json

Mark = Literal["ok", "note", "FAIL"]

_WIDTH = 80
_INDENT = " " * 6


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        mark: `ok`, `note` (nothing stops, but a person should know) or `FAIL`.
        subject: What was looked at.
        text: What it is like; never a secret.
        next_step: What a person can do; "" where there is nothing to do.
        verdict: Of a failure.
    """

    mark: Mark
    subject: str
    text: str
    next_step: str = ""
    verdict: str = ""

    @classmethod
    def of(cls, subject: str, failure: DownloadError, mark: Mark = "FAIL") -> Self:
        """What a failure amounts to."""
        return cls(mark, subject, failure.reason, failure.next_step, str(failure.verdict))

    @property
    def is_temporary(self) -> bool:
        """Whether it may mend by itself."""
        return self.verdict == Verdict.RETRY

    def to_json(self) -> Json:
        """Return plain types, for a line of `--json`."""
        names = ("subject", "text", "next_step", "verdict")
        return {"state": self.mark.lower(), **{name: getattr(self, name) for name in names}}

    def lines(self) -> Iterator[str]:
        """What a person reads: the finding, and below it the way out."""
        first = f"{self.mark:5} {self.subject}: {self.text}"
        yield from textwrap.wrap(first, _WIDTH, subsequent_indent=_INDENT, break_on_hyphens=False)
        if self.next_step:
            step = f"-> {self.next_step}"
            yield from textwrap.wrap(
                step, _WIDTH, initial_indent=_INDENT, subsequent_indent=f"{_INDENT}   ", break_on_hyphens=False
            )
