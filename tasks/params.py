"""The shared params store, with ONE's two functions: `~/.one/.remote`, protocol -> profile -> fields.

Signatures, results and errors are those of `one.remote.base`. Mended, and only this:

* a dotted key (`globus.admin`) is saved into its section and keeps its siblings; ONE writes a literal top-level entry
  of that name, after which it can read nothing any more;
* names that ONE could not read back are refused before anything is written;
* a value that is not JSON, a full disk or a crash leaves the old content; ONE empties the file first;
* processes that save at the same time lose nothing; the file is 0600 and may start with a BOM;
* errors name the file and the way out, and no text of the file; a corrupt file is never written over;
* `kachery` finds the section that ONE spells `kachary`.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.clients import shared_json, store

if TYPE_CHECKING:
    from tasks.clients.shared_json import Json


class IBLParams(tuple[Any, ...]):
    """A named tuple of parameters, as ONE returns them; its values are plain types.

    Unlike ONE's it can be pickled, and neither `repr` nor `str` shows a value.
    """

    __slots__ = ()
    _fields: tuple[str, ...]

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def as_dict(self) -> Json:
        """Return a new dict of the parameters."""
        return dict(zip(self._fields, self, strict=True))

    def set(self, field: str, value: Any) -> IBLParams:
        """Return new parameters, with `field` added or replaced."""
        return _named({**self.as_dict(), field: value})

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.as_dict(),)

    def __repr__(self) -> str:
        return f"IBLParams({', '.join(f'{name}=***' for name in self._fields)})"


def load_client_params(client_key: str | None = None, assert_present: bool = True) -> IBLParams | None:
    """Load the store, or a part of it.

    Args:
        client_key: A protocol (`globus`), a profile of it (`globus.admin`) or deeper; none for everything.
        assert_present: With False, None is returned for what is not there.

    Returns:
        The parameters by name; None for a part that is empty or null, as ONE has it.

    Raises:
        FileNotFoundError: There is no store.
        AttributeError: It has no such part, or the part is a single value.
        json.JSONDecodeError: The file is corrupt; it is a TypeError, too, as ONE raises for a list or null.
        ValueError: A name on the way is none that ONE can read.

    Example:
        >>> load_client_params("globus.admin").local_endpoint
    """
    try:
        return _load(client_key)
    except (FileNotFoundError, AttributeError):
        if assert_present:
            raise
        return None


def save_client_params(new_pars: Mapping[str, Any] | IBLParams | None, client_key: str | None = None) -> None:
    """Save the whole store, or replace a part of it; whatever is raised, the store is what it was.

    Args:
        new_pars: Parameters, ours or ONE's; None writes a null part.
        client_key: As for :func:`load_client_params`. The part is replaced, not merged; all others stay.
            Without it the whole store is replaced, unlisted protocols included.

    Raises:
        ValueError: ONE could not read a name back; or, for the whole store, a value is not a dict;
            or the file is corrupt (json.JSONDecodeError).
        AttributeError: The parameters are no map.
        TypeError: A value is not JSON.
        TimeoutError: Another process does not release the lock.
        OSError: The file cannot be written.
    """
    if client_key:
        _save_part(new_pars, client_key.split("."))
    else:
        _save_all(new_pars)


def _load(client_key: str | None) -> IBLParams | None:
    content = shared_json.read(store.path())
    if content is None:
        raise FileNotFoundError(f"Parameter file {store.path()} not found; `prefect-alyx setup` makes it.")
    found = _resolve(content, "")
    level: Any = content
    for key in _parts(content, client_key):
        level = _below(level, key)
        found = _resolve(level, key)
    return found


def _parts(content: Json, client_key: str | None) -> list[str]:
    if not client_key:
        return []
    protocol, *below = client_key.split(".")
    return [store.section_of(content, protocol), *below]


def _below(level: Any, key: str) -> Any:
    if not isinstance(level, dict) or key not in level:
        known = ", ".join(level) if isinstance(level, dict) else "nothing"
        raise AttributeError(f"No {key!r} in {store.path()}; at this place it has: {known or 'nothing'}.")
    return level[key]


def _resolve(level: Any, key: str) -> IBLParams | None:
    if not level:
        return None
    if not isinstance(level, dict):
        raise AttributeError(f"{key!r} in {store.path()} is a value, not a map.")  # noqa: TRY004  (as ONE)
    try:
        return _named(level)
    except ValueError as fault:
        raise ValueError(
            f"{store.path()} cannot be read at {key or 'its top level'}: {fault}. Rename that entry in an editor; an "
            'entry with a dot, as old versions of ONE wrote it, belongs into its section: "globus": {"admin": {...}}.'
        ) from None


def _save_all(new_pars: Any) -> None:
    new = _map_of(new_pars)
    if not all(isinstance(profiles, dict) for profiles in new.values()):
        raise ValueError("Not all parameter fields contain dicts")
    store.check_names(new)
    with shared_json.locked(store.path()):
        shared_json.read(store.path())  # refuses a corrupt file: what is in it may still be mended
        shared_json.replace(store.path(), new)


def _save_part(new_pars: Any, keys: list[str]) -> None:
    new = None if new_pars is None else _map_of(new_pars)
    store.check_names(new or {}, *keys)
    with shared_json.locked(store.path()):
        content = shared_json.read(store.path()) or {}
        shared_json.replace(store.path(), _placed(content, keys, new))


def _map_of(new_pars: Any) -> Json:
    new = _plain(new_pars)
    if not isinstance(new, dict):  # ONE answers with this error, too
        raise AttributeError(f"Parameters are a map of names, not a {type(new_pars).__name__}.")  # noqa: TRY004
    return new


def _placed(content: Json, keys: list[str], new: Json | None) -> Json:
    """`content` with the part at `keys` replaced; ONE refuses a store whose top level it cannot read, too."""
    _resolve(content, "")
    *way, last = _parts(content, ".".join(keys))
    level = content
    for key in way:
        below = level.get(key)
        if below is not None and not isinstance(below, dict):
            raise ValueError(f"{key!r} in {store.path()} is a value, not a map: nothing can be saved below it.")
        level[key] = level = below or {}
    level[last] = new
    return content


def _named(fields: Json) -> IBLParams:
    names = namedtuple("IBLParams", fields)  # type: ignore[misc]  # noqa: PYI024  (known at run time only)
    made: Any = type("IBLParams", (IBLParams, names), {"__slots__": ()})
    return made._make(fields.values())  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """Dicts all the way down; ONE writes a nested named tuple as a list, and the names are lost."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    return {name: _plain(below) for name, below in value.items()} if isinstance(value, Mapping) else value


@task(persist_result=False, cache_policy=NO_CACHE)
def load_params(client_key: str | None = None, *, assert_present: bool = True) -> IBLParams | None:
    """:func:`load_client_params` as a task: its result is neither stored nor cached, and shows no value."""
    return load_client_params(client_key, assert_present)
