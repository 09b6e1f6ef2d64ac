"""How a verb of the command shows its help: examples keep their lines."""

from __future__ import annotations

from typing import Any

import click


class Verb(click.Command):
    r"""A command whose docstring is raw, so that its `\b` reaches click spelled out.

    Click keeps the lines of a paragraph that begins with the one character; linters want docstrings raw.
    """

    def __init__(self, *, help: str | None = None, **settings: Any) -> None:  # noqa: A002  (click's name)
        super().__init__(help=help and help.replace(r"\b", "\b"), **settings)


class Verbs(click.Group):
    """The command: a group of verbs."""

    command_class = Verb
