"""The filter and order expressions of the Transfer API: `status:ACTIVE,FAILED/label:~nightly*`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployments.sandbox.globus.store import Json


def matches(document: Json, expression: str) -> bool:
    """Whether a document meets all clauses of an expression."""
    clauses = [clause.partition(":") for clause in expression.split("/") if clause]
    return all(_meets(_text(document.get(field)), wanted) for field, _, wanted in clauses)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value or "")


def _meets(value: str, wanted: str) -> bool:
    if wanted.startswith("!"):
        return not _meets(value, wanted[1:])
    if wanted.startswith("~"):
        return fnmatchcase(value.lower(), wanted[1:].lower())
    return value in wanted.removeprefix("=").split(",")


def ordered(documents: list[Json], orderby: str) -> list[Json]:
    """Sort by `name ASC,size DESC`; the first field counts most."""
    for clause in reversed([clause for clause in orderby.split(",") if clause]):
        field, _, direction = clause.partition(" ")
        documents = sorted(documents, key=lambda d: (d.get(field) is None, d.get(field)), reverse=direction == "DESC")
    return documents
