"""The page on security names a test for each attack; each of them is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`(tests/\w+\.py)::(\w+)`", PAGE)


@cache
def found_in(path):
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_there_is_a_table_of_attacks():
    assert len(NAMED) > 35
    assert len(NAMED) == len(set(NAMED))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: part.removeprefix("tests/"))
def test_the_test_of_an_attack_is_there(path, name):
    assert name in found_in(path)
