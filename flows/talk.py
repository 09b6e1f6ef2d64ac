"""What the command writes: stdout is data, stderr is talk, and nothing that others have named moves a cursor."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from tasks.clients.verdicts import os_error, printable
from tasks.wording import wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.model import Json


def say(message: str) -> None:
    """Talk to the person, not to the pipe."""
    click.echo(plain(message), err=True)


def show(rows: Iterable[Json | str]) -> None:
    """Write data: a line of text, or one JSON object a line.

    Raises:
        DownloadError: `disk-full` and the like, where the output goes to a file.
    """
    for row in rows:
        line = plain(row) if isinstance(row, str) else json.dumps(row)
        try:
            click.echo(line)
        except BrokenPipeError:  # who reads has enough; click ends quietly
            raise
        except OSError as failure:
            # Or the interpreter writes what is left once more at its end, and ends with a code of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise os_error(failure, "standard output") from failure


def complain(what: str, next_step: str) -> None:
    """Say what is wrong and, below it, what to do."""
    for line in (*wrapped(f"prefect-alyx: {what}", "  ", first=""), *wrapped(next_step, "     ", first="  -> ")):
        say(line)


def plain(text: str) -> str:
    """What others have named (paths, repositories, servers' words) moves no cursor and turns no text around."""
    return "\n".join(map(printable, text.split("\n")))
