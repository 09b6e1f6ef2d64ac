"""Every line of `--json` keeps to the schema in the documentation, and the schema lets nothing else through."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator, ValidationError
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deployments.sandbox.full import FullLab
from flows.fetched import Fetched
from tasks.model import Outcome, State, Summary
from tasks.preparing import prepare
from tasks.selection import Selection
from tests.lab_runs import carry_out, opened, settings
from tests.shell import ROOT
from tests.snippets import blocks

PAGE = ROOT / "docs" / "reference"
SCHEMA = Draft202012Validator(json.loads((PAGE / "json-lines.schema.json").read_text()))
EXAMPLES = [line for block in blocks(PAGE / "json.md") if block.language == "json" for line in block.text.splitlines()]


@pytest.fixture(scope="module")
def full():
    with FullLab() as lab:
        yield lab


@pytest.fixture
def root(full, monkeypatch, tmp_path):
    for name, value in full.environment().items():
        monkeypatch.setenv(name, value)
    with temporary_settings({PREFECT_HOME: tmp_path / "prefect", PREFECT_API_URL: None}):
        yield tmp_path / "data"


def kinds(text):
    """The lines, each held against the schema, by what they are."""
    found = []
    for line in text.splitlines():
        row = json.loads(line)
        SCHEMA.validate(row)
        found.append("outcome" if "dataset" in row else "finding" if "subject" in row else next(iter(row)))
    return found


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA.schema)


@pytest.mark.parametrize("line", EXAMPLES)
def test_the_examples_keep_to_it(line):
    SCHEMA.validate(json.loads(line))


@pytest.mark.parametrize("field", ["state", "reason", "more"])
def test_a_line_that_lacks_or_adds_something_does_not(field):
    row = json.loads(EXAMPLES[0])
    row.pop(field) if field in row else row.update({field: 1})
    with pytest.raises(ValidationError):
        SCHEMA.validate(row)


def test_a_plan_keeps_to_it(root, command):
    done = command("plan", "--lab", "cortexlab", "--root", root, "--json")
    assert set(kinds(done.out)) == {"outcome", "summary"}


def test_a_run_keeps_to_it(root):
    plan = prepare(Selection.read({"labs": ["cortexlab"]}), root, settings())
    outcomes = carry_out(plan).values()
    assert {one.state for one in outcomes} >= {State.PUBLISHED, State.FAILED}
    done = Fetched(plan, Summary.of(outcomes, seconds=1.5), tuple(outcomes))
    lines = kinds("\n".join(map(json.dumps, done.rows())))
    assert (lines[0], lines[-1]) == ("outcome", "summary")


def test_doctor_keeps_to_it(root, command):
    lines = kinds(command("doctor", "--root", root, "--json").out)
    assert (set(lines[:-1]), lines[-1]) == ({"finding"}, "summary")


def test_status_keeps_to_it(root, command):
    with opened(root) as run:
        run.ledger.begin_run("one", {"labs": ["cortexlab"]})
        lost = Outcome("d", "a.npy", State.FAILED, verdict="RETRY", reason="gone", next_step="wait", code="not-found")
        run.ledger.record([lost], run="one")
        run.ledger.end_run("one", Summary.of([lost]))
        run.ledger.begin_run("two", {})
        (run.tree.partials / "md5-0123-10.free.partial").write_bytes(b"1234")
    lines = kinds(command("status", "--root", root, "--json").out)
    assert (set(lines[:-1]) >= {"run", "failure"}, lines[-1]) == (True, "status")
