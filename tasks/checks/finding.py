"""What an examination found: good, worth knowing, or wrong, and then with the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from tasks.clients.verdicts import Verdict
from tasks.wording import coded, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clients.verdicts import DownloadError
    from tasks.model import Json

Mark = Literal["ok", "note", "FAIL"]

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
        text = coded(failure.reason, failure.code)
        return cls(mark, subject, text, failure.next_step, str(failure.verdict))

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
        yield from wrapped(f"{self.mark:5} {self.subject}: {self.text}", _INDENT, first="")
        if self.next_step:
            yield from wrapped(self.next_step, f"{_INDENT}   ", first=f"{_INDENT}-> ")
