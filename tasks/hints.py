"""Hints for people who mistyped something: the nearest word, and what is wrong with which value."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return the nearest known word as a question, or, where none is near, the known words (at most 20).

    Example:
        >>> did_you_mean("lab", ["labs", "tags"])
        " (did you mean 'labs'?)"
    """
    by_form = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(word).casefold(), by_form, n=1, cutoff=0.5)
    if near:
        return f" (did you mean {by_form[near[0]]!r}?)"
    shown = sorted(by_form.values())[:20]
    more = ", ..." if len(by_form) > len(shown) else ""
    return f" (known are {', '.join(shown)}{more})" if shown else ""


def faults_of(failure: ValidationError) -> str:
    """Return all faults in one line; pydantic's own text has several lines for each."""
    return "; ".join(_fault(fault["loc"], fault["msg"]) for fault in failure.errors(include_url=False))


def _fault(place: tuple[int | str, ...], message: str) -> str:
    words = message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, place))}: {words}" if place else words
