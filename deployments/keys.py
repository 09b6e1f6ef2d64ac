"""Finds the keys of a file that a model, or a model below it, does not know."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from deployments.lines import Lined, Place

    #: Says what is to be said of a key, given those that are known at its place.
    Words = Callable[[str, Mapping[str, Any]], str]


def keys_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the keys that a model takes, with the type of each."""
    fields = model.model_fields.items()
    return {spelling: field.annotation for name, field in fields for spelling in (name, field.alias or name)}


def unknown(lined: Lined, model: type[BaseModel], words: Words) -> Iterator[str]:
    """Yield what is to be said of each key of a file that its model does not know."""
    yield from _in_map(lined, model, words, (), lined.data)


def _in_map(lined: Lined, model: type[BaseModel], words: Words, place: Place, value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{lined.where(place)}: it holds no keys with values"
        return
    known = keys_of(model)
    for key, below in value.items():
        here = (*place, str(key))
        if key in known:
            yield from _below(lined, list(_models(known[key])), words, here, below)
        else:
            yield f"{lined.where(here)}: {words(str(key), known)}"


def _below(lined: Lined, models: list[type[BaseModel]], words: Words, place: Place, value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _below(lined, models, words, (*place, index), item)
    elif isinstance(value, dict) and models:
        # Of several models the one is meant that knows most of the keys.
        yield from min((list(_in_map(lined, model, words, place, value)) for model in models), key=len)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in a type."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
