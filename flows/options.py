"""The selection as options of the command: one option a field, made from the model, so that none is forgotten."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import click

from tasks.selection import Selection, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic.fields import FieldInfo

#: What a field is called where it is given once a value.
_SINGULAR = {
    "labs": "lab",
    "subjects": "subject",
    "projects": "project",
    "numbers": "number",
    "session_ids": "session",
    "tags": "tag",
    "dataset_ids": "dataset",
    "names": "name",
    "collections": "collection",
    "dataset_types": "dataset-type",
    "repositories": "repository",
    "avoid_repositories": "avoid-repository",
    "protocols": "protocol",
}


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the selection's options to a command, in the order of the model's fields."""
    for name, field in reversed(Selection.model_fields.items()):
        command = _option(name, field)(command)
    return click.option(
        "--selection",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="A YAML file of these fields; options go before it.",
    )(command)


def selection_from(given: dict[str, Any]) -> Selection:
    """Make the selection of what was given.

    Raises:
        DownloadError: `selection`, when it does not make one.
    """
    file = given.pop("selection")
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}
    asked = {**(fields_of(file) if file else {}), **fields}
    return Selection.read({**_as_one_is_told(asked), **asked}, str(file or ""))


def _as_one_is_told(asked: Mapping[str, Any]) -> dict[str, str]:
    """The revision that ONE's own variable asks for, where the selection says nothing of revisions."""
    last = os.environ.get("ONE_REVISION_LAST_BEFORE")
    if not last or not asked or "revision_rule" in asked or "revision" in asked:
        return {}
    return {"revision_rule": "last_before", "revision": last}


def _option(name: str, field: FieldInfo) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    flags = [f"--{_SINGULAR.get(name, name).replace('_', '-')}"]
    if name in _SINGULAR and f"--{name.replace('_', '-')}" not in flags:
        flags.append(f"--{name.replace('_', '-')}")
    if field.annotation is bool:
        return click.option(*flags, name, is_flag=True, help=field.description)
    many = get_origin(field.annotation) is list
    return click.option(*flags, name, multiple=many, metavar="TEXT", help=field.description)
