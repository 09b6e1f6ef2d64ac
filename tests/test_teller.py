"""How a run tells how far it is: a bar at a terminal, a line every half minute elsewhere, and never both."""

from __future__ import annotations

import io
import logging
import re
import sys
from types import SimpleNamespace

import pytest
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

from flows.teller import LINE_SECONDS, Lines, Moving, teller
from tasks.telling.answers import Standing
from tasks.transfer.tally import Tally

PLAN = SimpleNamespace(
    fetch=SimpleNamespace(files=4, bytes=4_000_000), check=SimpleNamespace(files=0, bytes=0), root="/data"
)


def standing(done):
    return Standing(PLAN, Tally(files=done // 1_000_000, bytes=done), done)


class Clock:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


def test_elsewhere_a_line_every_half_minute():
    said, clock = [], Clock()
    voice = Lines(said.append, clock)
    for second in range(100):
        clock.time = float(second)
        voice.tell(standing(second * 40_000))
    assert len(said) == 100 // LINE_SECONDS
    assert said[0] == "1.2 MB of 4.0 MB are done, 1 of 4 files; 2.8 MB are left."


def test_a_short_run_says_nothing_on_its_way():
    said = []
    Lines(said.append, Clock()).tell(standing(1))
    assert said == []


def test_into_a_pipe_there_is_no_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with teller(print) as voice:
        voice.tell(standing(1_000_000))
        assert isinstance(voice, Lines)
    assert sys.stderr.getvalue() == ""


@pytest.mark.parametrize("colour", [None, "truecolor"])
def test_at_a_terminal_a_bar_moves_and_is_gone_at_the_end(colour):
    shown, said = io.StringIO(), []
    terminal = Console(file=shown, force_terminal=True, width=80, color_system=colour)
    with teller(said.append, terminal) as voice:
        assert isinstance(voice, Moving)
        for done in (0, 1_000_000, 5_000_000):
            voice.tell(standing(done))
            voice.bar.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    assert "1.0/4.0 MB" in text
    assert "4.0/4.0 MB" in text
    assert all(len(line) <= 80 for line in re.split(r"[\r\n]", text))
    assert said == []
    assert shown.getvalue().endswith("\x1b[2K")  # the line is cleared


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_line_of_the_log_begins_where_the_bar_was(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    handler = PrefectConsoleHandler(shown, styles={"log.info_level": "cyan"})
    handler.setFormatter(logging.Formatter("LOG %(message)s"))
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    with teller(print) as voice:
        voice.tell(standing(1_000_000))
        voice.bar.refresh()
        logging.getLogger("flows").warning("a server is down")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    assert "1.0/4.0 MB" in text
    assert "LOG a server is down" in re.split(r"[\r\n]+", text)
