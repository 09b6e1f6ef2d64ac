"""Options of the verbs that move bytes: `--bwlimit`, in place of the setting, and `--report`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasks.transfer.bandwidth import Timetable

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


def _report(_context: click.Context, _option: click.Parameter, given: Path | None) -> Path | None:
    """Refuse before the run what would fail after it."""
    if given is None:
        return None
    if not find_spec("matplotlib") or not find_spec("jinja2"):
        raise click.UsageError("A report needs matplotlib and jinja2: `pip install 'prefect-alyx[report]'`.")
    if not given.absolute().parent.is_dir():
        raise click.BadParameter(f"{given.absolute().parent} is no directory.")
    return given


def report_option(command: Any) -> Any:
    """Add `--report` to a verb that moves bytes."""
    return click.option(
        "--report",
        type=click.Path(path_type=Path, dir_okay=False, writable=True),
        callback=_report,
        help="Write what became of the run, with curves, as one HTML file.",
    )(command)


def bwlimit_option(command: Any) -> Any:
    """Add `--bwlimit` to a verb that moves bytes."""
    return click.option(
        "--bwlimit",
        metavar="RATE",
        callback=_limit,
        expose_value=False,
        help="Limit of all runs on this machine together: 10M, or by the hour '08:00,512k 19:00,10M 23:00,off'.",
    )(command)
