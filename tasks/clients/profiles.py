"""Setting a profile up: a protocol says which fields it wants, a human or a script gives them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from getpass import getpass
from pathlib import PurePath
from typing import TYPE_CHECKING
from uuid import UUID

from tasks.clients import store
from tasks.clients.verdicts import error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tasks.clients.shared_json import Json


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a protocol's profile.

    Attributes:
        name: Its name in the store.
        question: What a human is asked, without the colon.
        secret: It is typed unseen and never shown.
        default: Taken where nobody gives another value.
        optional: It may stay empty; the store then holds null.
    """

    name: str
    question: str
    secret: bool = False
    default: object = None
    optional: bool = False


def setup(protocol: str, profile: str, wanted: Sequence[Field], given: Mapping[str, object]) -> Json:
    """Write a profile and return it; fields that it had beside the wanted ones stay.

    What is not given (None counts as not given) is asked for, if standard input is a terminal, with the stored value
    or the default as the proposal. Without a terminal nobody is asked: stored value, default, or the error below.

    Raises:
        DownloadError: `not-configured`: names the fields that are missing; `bad-params`: a field nobody wants, a name
            or value that cannot be stored; `params-file`, `params-busy`. Nothing is written then.
    """
    refuse_strangers(protocol, wanted, given)
    stored = store.profile(protocol, profile) or {}
    proposals = {field.name: stored.get(field.name, field.default) for field in wanted}
    fields = {**proposals, **{name: _plain(value) for name, value in given.items() if value is not None}}
    if _at_terminal():
        fields |= {field.name: _ask(field, proposals[field.name]) for field in wanted if given.get(field.name) is None}
    _refuse_gaps(protocol, profile, wanted, fields)
    return store.merge_profile(protocol, profile, fields)


def _at_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def _ask(field: Field, proposal: object) -> object:
    """The human's answer, or the proposal for an empty one. Asks on standard error: standard output is data."""
    shown = "" if proposal is None else " [keep]" if field.secret else f" [{proposal}]"
    question = f"{field.question}{shown}: "
    try:
        if field.secret:
            return getpass(question) or proposal
        sys.stderr.write(question)
        sys.stderr.flush()
        return sys.stdin.readline().strip() or proposal
    except EOFError:
        return proposal


def _plain(value: object) -> object:
    return str(value) if isinstance(value, PurePath | UUID) else value


def refuse_strangers(protocol: str, wanted: Iterable[Field], given: Mapping[str, object]) -> None:
    """Raise `bad-params` for fields that a protocol's profile does not have."""
    names = [field.name for field in wanted]
    if strangers := sorted(set(given) - set(names)):
        raise error("bad-params", f"{protocol} has no field {', '.join(strangers)}; it has {', '.join(names)}.")


def _refuse_gaps(protocol: str, profile: str, wanted: Iterable[Field], fields: Json) -> None:
    gaps = [field.name for field in wanted if not field.optional and fields[field.name] in (None, "")]
    if gaps:
        raise error(
            "not-configured",
            f"The profile {protocol}.{profile} misses {', '.join(gaps)}: "
            f"run `prefect-alyx setup {protocol}` at a terminal, or give it these fields.",
        )
