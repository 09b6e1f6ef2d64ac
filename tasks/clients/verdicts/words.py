"""Reading what strangers say: answers that may be JSON, text of any length, failures that wrap each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from requests import exceptions as requests_errors

if TYPE_CHECKING:
    from collections.abc import Iterator


def printable(text: str) -> str:
    """Text of strangers for a terminal or a log: one line, no escape sequence, nothing that turns text around."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def parsed(content_type: str, body: str) -> Any:
    """An answer's content, or None where it is no JSON."""
    if "json" not in content_type:
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def shortened(text: str, width: int = 300) -> str:
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= width else f"{line[:width]}..."


def causes_of(failure: BaseException) -> Iterator[BaseException]:
    """The failure and all that it wraps, outermost first; requests and urllib3 hide the cause in several places."""
    cause: Any = failure
    seen: set[int] = set()
    while isinstance(cause, BaseException) and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        inner = [arg for arg in cause.args if isinstance(arg, BaseException)]
        cause = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__ or next(iter(inner), None)


def why(failure: Exception, causes: tuple[BaseException, ...]) -> str:
    if isinstance(failure, requests_errors.Timeout | TimeoutError):
        return "it does not answer in time"
    reasons = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return reasons[-1] if reasons else "the connection broke off"
