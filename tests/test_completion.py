"""Completion in the shell: what the documentation says to put into a start-up file completes verbs and options."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from click.shell_completion import shell_complete

from flows.cli import cli
from tests.shell import ROOT


@pytest.fixture
def environment(tmp_path):
    """A shell that has the command."""
    (tmp_path / "prefect-alyx").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flows.cli "$@"\n')
    (tmp_path / "prefect-alyx").chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def answer(monkeypatch, capsys):
    """What the command says to a shell that asks."""

    def ask(instruction, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        shell_complete(cli, {}, "prefect-alyx", "_PREFECT_ALYX_COMPLETE", instruction)
        return capsys.readouterr().out

    return ask


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("prefect-alyx st", "status"),
        ("prefect-alyx fetch --bw", "--bwlimit"),
        ("prefect-alyx sync --mode f", "failed"),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_answers(answer, shell, words, expected):
    last = words.rpartition(" ")[2] if shell == "fish" else str(len(words.split()) - 1)
    given = answer(f"{shell}_complete", COMP_WORDS=words, COMP_CWORD=last)
    assert expected in re.split(r"[,\t\n]", given)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_of_its_language(answer, shell):
    script = answer(f"{shell}_source")
    assert f"{shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_bash_completes(environment):
    """As at the prompt: the function that the script defines is called with the words and fills COMPREPLY."""
    lines = (
        'eval "$(_PREFECT_ALYX_COMPLETE=bash_source prefect-alyx)"',
        "COMP_WORDS=(prefect-alyx ver); COMP_CWORD=1",
        'function="$(complete -p prefect-alyx | sed "s/.*-F \\([^ ]*\\).*/\\1/")"',
        '"$function" prefect-alyx ver prefect-alyx; echo "${COMPREPLY[@]}"',
    )
    command = ["bash", "-c", "\n".join(lines)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["verify"]
    assert done.stderr == ""
