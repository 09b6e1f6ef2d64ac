"""What the user asks for: at once the flow's parameter and its form, the options of the command, and a YAML file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import cached_property, partial
from pathlib import Path  # noqa: TC003  (a public annotation of a model)
from typing import Annotated, Any, Literal, Self, TypeVar, get_args
from uuid import UUID

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from tasks.clients.verdicts import error
from tasks.hints import did_you_mean, faults_of

T = TypeVar("T")
Qc = Literal["NOT_SET", "PASS", "WARNING", "FAIL", "CRITICAL"]
RevisionRule = Literal["default", "exact", "last_before", "all"]
Protocol = Literal["aws", "http", "globus", "kachary", "kachery"]

#: A range of dates without a first or a last day reaches so far.
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2999, 12, 31)
#: What datasets have through their session; a dataset without a session does not match any of it.
_OF_SESSIONS = ("labs", "subjects", "dates", "projects", "numbers", "session_ids", "task_protocol")
#: Fields that say which datasets, one of which has to be set; the others only trim.
_NARROWING = (*_OF_SESSIONS, "tags", "dataset_ids", "names", "collections", "dataset_types", "public_only")


def days_of(text: str) -> tuple[date, date]:
    """Return the first and the last day of `2024-03-01` or of `2024-03-01..2024-03-31`; either end may be left out.

    Raises:
        ValueError: It is neither, or ends before it begins.
    """
    first, dots, last = (part.strip() for part in text.partition(".."))
    if not first and not last:
        raise ValueError(f"{text!r} names no day")
    low = _day(first, text) if first else FIRST_DAY
    high = _day(last, text) if last else LAST_DAY if dots else low
    if low > high:
        raise ValueError(f"{text!r} ends before it begins")
    return low, high


def _day(text: str, whole: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{whole!r} is no date and no range: write 2024-03-01 or 2024-03-01..2024-03-31") from None


def _days(text: str) -> str:
    days_of(text)
    return text


def _id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError(f"{text!r} is no id: an id has 32 hexadecimal digits and four hyphens") from None


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("an empty text selects nothing: leave it out")
    return text.strip()


def _text(value: Any) -> Any:
    """YAML reads 2024-01-01 as a date, and programs have ids as UUIDs."""
    return str(value) if isinstance(value, date | UUID) else value


def _listed(value: Any) -> Any:
    """One value where a list belongs is a list of one."""
    return [value] if isinstance(value, str | int | date | UUID) else value


def _unique(values: list[T]) -> list[T]:
    return list(dict.fromkeys(values))


def _one_of(known: tuple[str, ...], value: Any) -> Any:
    if isinstance(value, str) and value not in known:
        raise ValueError(f"{value!r} is not known{did_you_mean(value, known)}")
    return value


def _as_one_spells(value: str) -> str:
    return "kachary" if value == "kachery" else value


Listed = Annotated[list[T], BeforeValidator(_listed), AfterValidator(_unique)]
Word = Annotated[str, BeforeValidator(_text), AfterValidator(_not_blank)]
Id = Annotated[str, BeforeValidator(_text), AfterValidator(_id)]
Days = Annotated[str, BeforeValidator(_text), AfterValidator(_days)]
Collection = Annotated[str, AfterValidator(lambda text: text.strip("/ "))]
OneProtocol = Annotated[Protocol, BeforeValidator(partial(_one_of, get_args(Protocol))), AfterValidator(_as_one_spells)]


class Selection(BaseModel):
    """Which datasets, by which rule among their revisions, and from where.

    Values of one field are alternatives; fields narrow one another. Nothing is matched by being misspelt: an unknown
    field or value is an error that names the nearest one, and a selection that would select everything is refused
    unless it says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labs: Listed[Word] = Field([], description="Labs, by name.")
    subjects: Listed[Word] = Field([], description="Subjects, by nickname.")
    dates: Listed[Days] = Field(
        [], description="Days of sessions: 2024-03-01, or 2024-03-01..2024-03-31; either end may be left out."
    )
    projects: Listed[Word] = Field([], description="Projects, by name.")
    numbers: Listed[NonNegativeInt] = Field([], description="Session numbers of a day.")
    session_ids: Listed[Id] = Field([], description="Sessions, by id.")
    task_protocol: Annotated[str, AfterValidator(str.strip)] = Field(
        "", description="Part of the task protocol's name, in upper or lower case."
    )
    tags: Listed[Word] = Field([], description="Tags of datasets, such as the name of a release.")
    dataset_ids: Listed[Id] = Field([], description="Datasets, by id; the rule about revisions does not apply to them.")
    names: Listed[Word] = Field([], description="Names of datasets, such as spikes.times.npy or spikes.*.npy.")
    collections: Listed[Collection] = Field([], description="Collections, such as alf/probe00 or alf/*.")
    dataset_types: Listed[Word] = Field([], description="Dataset types, such as spikes.times.")
    regex: bool = Field(False, description="Names and collections are regular expressions, not patterns with *.")
    qc_at_most: Annotated[Qc | None, BeforeValidator(partial(_one_of, get_args(Qc)))] = Field(
        None, description="Worst quality that is taken; NOT_SET is better than PASS, as in ONE."
    )
    revision_rule: Annotated[RevisionRule, BeforeValidator(partial(_one_of, get_args(RevisionRule)))] = Field(
        "default",
        description="Which revision: the default one; exactly `revision`; the last one not after `revision`; all.",
    )
    revision: Annotated[str, BeforeValidator(_text)] = Field(
        "", description="Name or date of a revision, for the rules `exact` and `last_before`."
    )
    public_only: bool = Field(False, description="Only datasets with a public tag.")
    max_size: ByteSize | None = Field(None, description="Largest size of a file: bytes, or a text such as 500 MB.")
    repositories: Listed[Word] = Field([], description="Data repositories to use; all, where none is named.")
    avoid_repositories: Listed[Word] = Field([], description="Data repositories not to use.")
    protocols: Listed[OneProtocol] = Field(
        ["aws", "http", "globus", "kachary"], min_length=1, description="Protocols, the preferred one first."
    )
    everything: bool = Field(False, description="Yes, everything: allow a selection that no field narrows.")

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, data: Any) -> Any:
        for name in data if isinstance(data, Mapping) else ():
            if name not in cls.model_fields:
                raise ValueError(f"there is no field {name!r}{did_you_mean(name, cls.model_fields)}")
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.revision) != (self.revision_rule in ("exact", "last_before")):
            raise ValueError("`revision` goes with `revision_rule` exact or last_before, and these go with it")
        if self.regex:
            for pattern in (*self.names, *self.collections):
                _compiled(pattern)
        if not self.everything and not any(getattr(self, name) for name in _NARROWING):
            raise ValueError("it would select everything: set one of the fields, or `everything` if you mean it")
        return self

    @property
    def days(self) -> list[tuple[date, date]]:
        """The ranges of `dates`, in order, those that overlap joined."""
        joined: list[tuple[date, date]] = []
        for first, last in sorted(map(days_of, self.dates)):
            if joined and first <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        return joined

    @cached_property
    def wanted_sessions(self) -> frozenset[str]:
        """The ids of sessions, to look one up among many."""
        return frozenset(self.session_ids)

    @property
    def of_sessions(self) -> bool:
        """Whether it asks for something that datasets have through their session."""
        return any(getattr(self, name) for name in _OF_SESSIONS)

    @classmethod
    def read(cls, fields: Mapping[str, Any], where: str = "") -> Self:
        """Make a selection of plain values.

        Args:
            fields: Values by field.
            where: Where they come from, for the message.

        Raises:
            DownloadError: `selection`, with what is wrong with each field.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as failure:
            raise error("selection", f"{where}{': ' if where else ''}{faults_of(failure)}.") from failure

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read a selection from a YAML file.

        Raises:
            DownloadError: `selection`: it cannot be read, is no YAML map, or does not make a selection.
        """
        return cls.read(fields_of(path), str(path))


def fields_of(path: Path) -> dict[str, Any]:
    """Read the fields of a YAML file, unchecked.

    Raises:
        DownloadError: `selection`: it cannot be read, or is no YAML map.
    """
    try:
        fields = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as failure:
        raise error("selection", f"{path} cannot be read: {_yaml_fault(failure)}.") from failure
    except RecursionError as failure:
        raise error("selection", f"{path} cannot be read: it is nested too deeply.") from failure
    except (OSError, ValueError, TypeError, AttributeError) as failure:  # ValueError: a date that no calendar has
        raise error("selection", f"{path} cannot be read: {failure}.") from failure
    if not isinstance(fields, dict):
        raise error("selection", f"{path} holds no fields with values.")
    return fields


def _yaml_fault(failure: yaml.YAMLError) -> str:
    """What is wrong and in which line, without the drawing that PyYAML makes of it."""
    if isinstance(failure, yaml.MarkedYAMLError) and failure.problem_mark:
        return f"line {failure.problem_mark.line + 1}: {failure.problem}"
    return " ".join(str(failure).split())


class _Loader(yaml.SafeLoader):
    """Refuses a field that is given twice; YAML would take the last one and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        if twice := {name for name in names if names.count(name) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"{min(twice)!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as failure:
        raise ValueError(f"{pattern!r} is no regular expression: {failure}") from None
