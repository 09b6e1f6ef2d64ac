"""The catalogue of what can go wrong when a large file is fetched in ranges, over several connections at once."""

from __future__ import annotations

from deployments.sandbox.faults.answers import (
    Answer,
    IgnoreConditions,
    IgnoreRange,
    Other,
    Sized,
    Status,
    WrongBody,
    WrongRange,
)
from deployments.sandbox.faults.breaks import Drip, Drop, Gzip, Header, Stall
from deployments.sandbox.faults.catalogue import Expect, Fault

# What nobody wants any more is on its way until the connection is closed: some pieces, and files are small here.
_ONCE, _TWICE, _OFTEN = 1.2, 2.2, 5.2


def _right(about: str, *script: Answer) -> Fault:
    return Fault(about, script, Expect.RIGHT, _ONCE)


def _twice(about: str, *script: Answer) -> Fault:
    return Fault(about, script, Expect.RIGHT, _TWICE)


def _wrong(about: str, *script: Answer) -> Fault:
    return Fault(about, script, Expect.ERROR, _OFTEN)


#: A line that carries four megabytes a second for each connection.
SLOW = Drip(1 << 14, 0.004)

#: The first answer is to the request for the whole file, the others are to ranges.
SPLIT: dict[str, Fault] = {
    "a slow line": _right("Each connection is slow, the server is not.", SLOW),
    "drop in one range": _right("One of the connections is reset.", SLOW, SLOW + Drop(0.05), SLOW),
    "stall in one range": _right("One of the connections falls silent.", SLOW, SLOW + Stall(0.05), SLOW),
    "206 of another range": _right("Content-Range is one byte off, once.", SLOW, SLOW + WrongRange(), SLOW),
    "206 without Content-Range": _right(
        "Nobody knows which bytes, once.", SLOW, SLOW + Header("Content-Range", None), SLOW
    ),
    "206 of another size": _right(
        "Content-Range has another total, once.", SLOW, SLOW + Sized(1.5) + IgnoreConditions(), SLOW
    ),
    "206 with the wrong bytes": _twice(
        "Content-Range is right, the bytes are not, once.", SLOW, SLOW + WrongBody(), SLOW
    ),
    "gzip in one range": _right("One range comes compressed.", SLOW, SLOW + Gzip(), SLOW),
    "ranges ignored once": _right("200 to one range.", SLOW, SLOW + IgnoreRange(), SLOW),
    "ranges ignored from then on": _right("Ranges are promised and not given.", SLOW, SLOW + IgnoreRange()),
    "416 to one range": _right("One range is refused.", SLOW, Status(416), SLOW),
    "403 to one range": _right("One connection is refused.", SLOW, Status(403), SLOW),
    "429 to the third connection": _right(
        "Two connections are allowed.", SLOW, SLOW, Status(429, retry_after="1"), SLOW
    ),
    "503 to the second connection": _right("One connection is allowed, for ever.", SLOW, Status(503, retry_after="1")),
    "replaced by the right file in mid-set": _twice(
        "The first connection brings another file than the second.", Other() + SLOW, SLOW
    ),
    "replaced in mid-set, If-Range ignored": _twice(
        "The second range is of another file, under its own ETag.",
        Other() + SLOW,
        SLOW + IgnoreConditions(),
    ),
    "replaced by another file in mid-set": _wrong("From the second range on it is another file.", SLOW, Other() + SLOW),
}
