"""The option `--bwlimit`: a limit for this command, and for whatever of the setting else would hold."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tasks.bandwidth import Timetable

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLE = "PREFECT_INTEGRATIONS_ALYX_BWLIMIT"


@contextmanager
def _in_force(limit: str) -> Iterator[None]:
    """The setting, as flows read it, for as long as the command runs."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = limit
    try:
        yield
    finally:
        del os.environ[_VARIABLE]
        if before is not None:
            os.environ[_VARIABLE] = before


def _limit(context: click.Context, _option: click.Parameter, given: str | None) -> None:
    if given is None:
        return
    try:
        Timetable.parse(given)
    except ValueError as failure:
        raise click.BadParameter(f"{failure}.") from failure
    context.with_resource(_in_force(given))


def bwlimit_option(command: Any) -> Any:
    """Add `--bwlimit` to a verb that moves bytes."""
    return click.option(
        "--bwlimit",
        metavar="RATE",
        callback=_limit,
        expose_value=False,
        help="Limit of all runs on this machine together: 10M, or by the hour '08:00,512k 19:00,10M 23:00,off'.",
    )(command)
