"""Django's lookups (``session__subject__nickname__icontains``) over plain Python objects.

Conditions are chained as Alyx chains them, one ``.filter()`` each: two conditions on a relation to many
may be met by two different rows of it.
"""

from __future__ import annotations

import ast
import operator
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Predicate = Callable[[Any], bool]


class QueryError(Exception):
    """A lookup or value that Django cannot use; Alyx answers it with 500."""


@dataclass(frozen=True, slots=True)
class Column:
    """A value of an object, and its kind: uuid, text, int, bool, datetime, date or json."""

    kind: str
    read: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Relation:
    """Objects of another table that belong to an object."""

    table: str
    follow: Callable[[Any], Iterable[Any]]


Table = dict[str, Column | Relation]
Database = dict[str, Table]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "exact": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, wanted: value in wanted,
    "range": lambda value, wanted: wanted[0] <= value <= wanted[1],
    "iexact": lambda value, wanted: value.casefold() == wanted.casefold(),
    "contains": lambda value, wanted: wanted in value,
    "icontains": lambda value, wanted: wanted.casefold() in value.casefold(),
    "startswith": lambda value, wanted: value.startswith(wanted),
    "istartswith": lambda value, wanted: value.casefold().startswith(wanted.casefold()),
    "endswith": lambda value, wanted: value.endswith(wanted),
    "iendswith": lambda value, wanted: value.casefold().endswith(wanted.casefold()),
    "regex": lambda value, wanted: re.search(wanted, value) is not None,
    "iregex": lambda value, wanted: re.search(wanted, value, re.IGNORECASE) is not None,
}
_FOR_TEXT = {name for name in _OPERATORS if name not in ("exact", "gt", "gte", "lt", "lte", "in", "range")}


def parse(text: str) -> Iterator[tuple[str, Any]]:
    """Read a ``django=`` parameter: lookups and values in turn, apart by commas outside brackets.

    Raises:
        QueryError: A lookup has no value, or a list cannot be read.
    """
    words = re.findall(r"(?:\[[^\]]*\]|\([^)]*\)|[^,\[(])+", text)
    if len(words) % 2:
        raise QueryError("list index out of range")
    return ((lookup.strip(), _value(value.strip())) for lookup, value in zip(words[::2], words[1::2], strict=True))


def condition(database: Database, table: str, lookup: str, wanted: Any) -> Predicate:
    """Return the test that a lookup stands for; ``~`` before it turns it round.

    Raises:
        QueryError: The lookup or the value means nothing.
    """
    if lookup.startswith("~"):
        test = condition(database, table, lookup[1:], wanted)
        return lambda row: not test(row)
    values, kind, rest = _resolve(database, table, lookup.split("__"))
    if rest[:1] == ["date"] and kind == "datetime":
        values, kind, rest = _dates(values), "date", rest[1:]
    name = rest[0] if rest else "exact"
    if name == "isnull" or (name == "exact" and wanted is None):
        absent = wanted is None or _bool(wanted)
        return lambda row: any((value is None) == absent for value in values(row) or [None])
    if len(rest) > 1 or name not in _OPERATORS or (name in _FOR_TEXT and kind != "text"):
        raise QueryError(f"Unsupported lookup '{name}' for {kind} field or join on the field not permitted.")
    target = [_coerce(kind, each) for each in wanted] if name in ("in", "range") else _coerce(kind, wanted)
    test_one = _OPERATORS[name]
    return lambda row: any(value is not None and test_one(value, target) for value in values(row))


def _resolve(database: Database, table: str, parts: list[str]) -> tuple[Callable[[Any], list[Any]], str, list[str]]:
    """Follow relations; return how to read the values, their kind, and what is left of the lookup."""
    hops: list[Relation] = []
    for at, part in enumerate(parts):
        found = database[table].get("id" if part == "pk" else part)
        if found is None and at == 0:
            choices = ", ".join(sorted(database[table]))
            raise QueryError(f"Cannot resolve keyword '{part}' into field. Choices are: {choices}")
        if found is None:
            break
        if isinstance(found, Column):
            return _reader(hops, found), found.kind, parts[at + 1 :]
        hops.append(found)
        table = found.table
    key = database[table]["id"]
    return _reader(hops, key), "uuid", parts[len(hops) :]


def _reader(hops: list[Relation], column: Column | Relation) -> Callable[[Any], list[Any]]:
    read = column.read if isinstance(column, Column) else column.follow

    def values(row: Any) -> list[Any]:
        rows = [row]
        for hop in hops:
            rows = [each for one in rows for each in hop.follow(one)]
        return [read(each) for each in rows]

    return values


def _dates(values: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    return lambda row: [value and value.date() for value in values(row)]


def _value(text: str) -> Any:
    """Return what Alyx makes of a value; where it evaluates a list as Python, this reads literals only."""
    if text[:1] in ("[", "("):
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise QueryError(str(error)) from None
    words = {"none": None, "true": True, "false": False}
    if text.casefold() in words:
        return words[text.casefold()]
    return int(text) if text.isascii() and text.isdigit() else text


def _coerce(kind: str, value: Any) -> Any:
    return _COERCE[kind](value)


def _uuid(value: Any) -> str:
    try:
        return str(uuid.UUID(str(value)))
    except ValueError:
        raise QueryError(f"['“{value}” is not a valid UUID.']") from None


def _bool(value: Any) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if str(value).casefold() not in words:
        raise QueryError(f"['“{value}” value must be either True or False.']")
    return words[str(value).casefold()]


def _int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise QueryError(f"Field expected a number but got {value!r}.") from None


def _datetime(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        form = "YYYY-MM-DD HH:MM[:ss[.uuuuuu]][TZ]"
        raise QueryError(f"['“{value}” value has an invalid format. It must be in {form} format.']") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _date(value: Any) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        form = "YYYY-MM-DD"
        raise QueryError(f"['“{value}” value has an invalid date format. It must be in {form} format.']") from None


_COERCE: dict[str, Callable[[Any], Any]] = {
    "uuid": _uuid,
    "text": str,
    "int": _int,
    "bool": _bool,
    "datetime": _datetime,
    "date": _date,
    "json": lambda value: value,
}
