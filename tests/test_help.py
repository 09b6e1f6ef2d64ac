"""The help of every verb: short, with examples that can be copied, in 80 columns."""

from __future__ import annotations

import shlex

import click
import pytest
from click.testing import CliRunner

from flows.cli import cli


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_each_verb_has_examples_on_lines_of_their_own(verb):
    shown = CliRunner().invoke(cli, [verb, "--help"], terminal_width=80).stdout
    lines = shown.splitlines()
    assert any(line.startswith(f"  prefect-alyx {verb}") for line in lines)
    assert all(len(line) <= 80 for line in lines)
    assert "\\b" not in shown


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_the_examples_of_a_verb_are_understood(verb):
    lines = cli.commands[verb].help.replace("\\\n", " ").splitlines()
    examples = [shlex.split(line.partition("<")[0]) for line in lines if line.strip().startswith("prefect-alyx ")]
    assert examples
    for _, named, *arguments in examples:
        command = cli.commands[named]
        command.make_parser(click.Context(command)).parse_args(arguments)


def test_the_verbs_that_messages_name_are_there():
    assert {"doctor", "setup", "plan", "fetch", "sync", "verify", "status", "retry", "deploy", "demo"} <= set(
        cli.commands
    )
