"""Every command and every snippet of README and documentation works as it stands there."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
import yaml
from prefect.settings import PREFECT_HOME, temporary_settings

from deployments.sandbox.full import FullLab
from deployments.site import Site
from flows import local_server
from flows.cli import cli
from tasks.selection import Selection
from tests.shell import ROOT
from tests.snippets import blocks, pages, plain

BLOCKS = [block for page in pages() for block in blocks(page)]
RUN = [block for block in BLOCKS if not block.reason]
#: Output, which other tests look at.
SHOWN = {"text"}
SHELL = ("sh", "bash", "console")
KNOWN = {*SHELL, "python", "yaml", "toml", "json", *SHOWN}


def commands(block):
    """The calls of our command in a block, as words."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        starts = [at for at, word in enumerate(words) if word.removeprefix(".venv/bin/") == "prefect-alyx"]
        for at in starts:
            rest = words[at + 1 :]
            end = next((n for n, word in enumerate(rest) if word in ("||", "&&", "|", ">", "<", "&", ")")), len(rest))
            if rest[:end]:
                yield rest[:end]


def test_there_is_something_to_run():
    assert len([block for block in RUN if block.language in SHELL]) > 15
    assert {block.language for block in BLOCKS} <= KNOWN


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.reason], ids=str)
def test_what_is_not_run_says_why(block):
    assert len(block.reason.split()) > 2
    for path in block.reason.split():
        if path.startswith("tests/"):
            assert (ROOT / path.rstrip(",;")).exists(), path


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in SHELL], ids=str)
def test_commands_know_their_options(block):
    for verb, *arguments in commands(block):
        command = cli.commands[verb]
        command.make_parser(click.Context(command)).parse_args(list(arguments))


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language not in (*SHELL, *SHOWN)], ids=str)
def test_files_are_what_they_say(block):
    if block.language == "python":
        compile(block.text, str(block), "exec")
    elif block.language == "toml":
        tomllib.loads(block.text)
    elif block.language == "json":
        assert [json.loads(line) for line in block.text.splitlines()]
    else:
        known = Site if block.title.startswith("site") else Selection
        assert set(yaml.safe_load(block.text)) <= set(known.model_fields)


# --- by running them ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full():
    with FullLab() as lab:
        yield lab


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Prefect server of this module alone: what readers deploy is nobody else's."""
    with temporary_settings(updates={PREFECT_HOME: tmp_path_factory.mktemp("prefect")}):
        yield local_server.start(print).url
        assert local_server.stop(print)


@pytest.fixture
def desk(full, server, tmp_path):
    """Where a reader sits: a clone, the project's environment, an Alyx; and the environment of that shell."""
    full.lab.reset()
    (tmp_path / "deployments").symlink_to(ROOT / "deployments")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "prefect-alyx").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flows.cli "$@"\n')
    (programs / "prefect-alyx").chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {**full.environment(), "PATH": path, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": server}
    quick = {"PREFECT_INTEGRATIONS_ALYX_RESERVE_BYTES": "0", "TERM": "dumb"}
    return tmp_path, {**os.environ, **own, **quick}


def perform(block, place, environment):
    """Do what a reader does with a block; return what it prints."""
    if block.title:
        (place / block.title).write_text(block.here)
    if block.language not in (*SHELL, "python"):
        return ""
    shell = ["bash", "-euo", "pipefail", "-c", block.here]
    program = shell if block.language in SHELL else [sys.executable, "-c", block.here]
    done = subprocess.run(
        program, cwd=place, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{block}\n{block.text}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", sorted({block.page for block in RUN if block.language not in SHOWN}))
def test_a_page_from_top_to_bottom(page, desk):
    place, environment = desk
    printed = ""
    for block in BLOCKS:
        if block.page != page:
            continue
        if printed and block.below and block.language == "text":
            assert plain(printed).endswith(plain(block.text)), block
        printed = "" if block.reason else perform(block, place, environment)
