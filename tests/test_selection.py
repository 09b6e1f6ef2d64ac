"""The selection: what it takes, what it refuses and in which words, and the form that Prefect makes of it."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prefect.utilities.callables import parameter_schema
from pydantic import ValidationError

from tasks.clients.base import PROC_PRECEDENCE
from tasks.clients.verdicts import DownloadError
from tasks.selection import FIRST_DAY, LAST_DAY, Selection

if TYPE_CHECKING:
    from pathlib import Path

ID = "0b305d2f-04dc-4ef1-be1c-db18931391a1"


def refused(fields: dict[str, Any]) -> str:
    with pytest.raises(DownloadError) as caught:
        Selection.read(fields, "labs.yaml")
    assert caught.value.code == "selection"
    assert "pydantic" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lab": "x"}, "there is no field 'lab' (did you mean 'labs'?)"),
        ({"dataset": "x"}, "there is no field 'dataset' (did you mean 'dataset"),
        ({"xyz": "x"}, "there is no field 'xyz' (known are "),
        ({"labs": "x", "qc_at_most": "pass"}, "qc_at_most: 'pass' is not known (did you mean 'PASS'?)"),
        ({"labs": "x", "protocols": ["htpp"]}, "protocols.0: 'htpp' is not known (did you mean 'http'?)"),
        ({"labs": "x", "protocols": []}, "protocols: List should have at least 1 item"),
        ({"labs": "x", "revision_rule": "last-before"}, "(did you mean 'last_before'?)"),
        ({"labs": "x", "revision_rule": "exact"}, "`revision` goes with `revision_rule`"),
        ({"labs": "x", "revision": "2024-01-01"}, "`revision` goes with `revision_rule`"),
        ({"session_ids": "abc"}, "session_ids.0: 'abc' is no id"),
        ({"dataset_ids": [ID, "0b305d2f"]}, "dataset_ids.1: '0b305d2f' is no id"),
        ({"dates": "2024-13-01"}, "dates.0: '2024-13-01' is no date and no range"),
        ({"dates": "2024-02-01..2024-01-01"}, "'2024-02-01..2024-01-01' ends before it begins"),
        ({"dates": ".."}, "'..' names no day"),
        ({"dates": ""}, "'' names no day"),
        ({"numbers": -1}, "numbers.0: Input should be greater than or equal to 0"),
        ({"labs": [7]}, "labs.0: Input should be a valid string"),
        ({"labs": None}, "labs: Input should be a valid list"),
        ({"labs": " "}, "labs.0: an empty text selects nothing"),
        ({"labs": "x", "max_size": "5 foo"}, "max_size: could not interpret byte unit: foo"),
        ({"names": "a[", "regex": True}, "'a[' is no regular expression"),
        ({}, "it would select everything"),
        ({"qc_at_most": "FAIL", "max_size": 5}, "it would select everything"),
        ({"labs": []}, "it would select everything"),
        ({"labs": " ", "dates": "x"}, "; dates.0: 'x' is no date"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], words: str) -> None:
    assert words in refused(fields)


def test_one_value_is_a_list_of_one_and_doubles_are_one() -> None:
    selection = Selection(labs="a", numbers=1, session_ids=UUID(ID), subjects=["s", "t", "s"])  # type: ignore[arg-type]
    assert (selection.labs, selection.numbers, selection.session_ids, selection.subjects) == (
        ["a"],
        [1],
        [ID],
        ["s", "t"],
    )


def test_values_are_brought_into_their_form() -> None:
    selection = Selection.read(
        {
            "labs": " a ",
            "dataset_ids": ID.upper().replace("-", ""),
            "collections": ["alf/", "/raw/video", ""],
            "max_size": "2 MB",
            "protocols": ["kachery", "http", "kachary"],
        }
    )
    assert selection.labs == ["a"]
    assert selection.dataset_ids == [ID]
    assert selection.collections == ["alf", "raw/video", ""]
    assert selection.max_size == 2_000_000
    assert selection.protocols == ["kachary", "http"]


def test_everything_has_to_be_said() -> None:
    assert Selection(everything=True).labs == []


def test_protocols_are_in_ones_order() -> None:
    assert tuple(Selection(everything=True).protocols) == PROC_PRECEDENCE


def test_days() -> None:
    dates = ["2024-03-01", "2024-01-05..", "..2023-01-01", "2023-02-01..2023-02-28", "2023-02-28..2023-03-02"]
    assert Selection(dates=dates).days == [
        (FIRST_DAY, date(2023, 1, 1)),
        (date(2023, 2, 1), date(2023, 3, 2)),
        (date(2024, 1, 5), LAST_DAY),
    ]


@pytest.mark.parametrize(
    ("fields", "of_sessions"), [({"labs": "a"}, True), ({"dates": "2024-01-01"}, True), ({"tags": "a"}, False)]
)
def test_what_datasets_have_through_their_session(fields: dict[str, Any], of_sessions: bool) -> None:
    assert Selection(**fields).of_sessions is of_sessions


def test_a_yaml_file(tmp_path: Path) -> None:
    file = tmp_path / "labs.yaml"
    file.write_text(
        "labs: [cortexlab]\n"
        "dates: 2024-03-01\n"
        "revision: 2024-01-01\n"
        "revision_rule: last_before\n"
        "names: ['spikes.*.npy']\n"
    )
    selection = Selection.from_yaml(file)
    assert selection.dates == ["2024-03-01"]
    assert selection.revision == "2024-01-01"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("labs: [a\n", "cannot be read"),
        ("- labs\n", "holds no fields"),
        ("", "holds no fields"),
        ("labs: a\nlabs: b\n", "'labs' is given twice"),
        ("lab: a\n", "there is no field 'lab'"),
        ("!!python/object/apply:os.system [ls]\n", "cannot be read"),
        ("1: a\n", "there is no field 1"),
        ("\x00", "cannot be read"),
    ],
)
def test_a_yaml_file_that_is_none(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "labs.yaml"
    file.write_text(text)
    with pytest.raises(DownloadError, match=r"labs\.yaml") as caught:
        Selection.from_yaml(file)
    assert words in caught.value.reason


def test_a_yaml_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"missing\.yaml cannot be read"):
        Selection.from_yaml(tmp_path / "missing.yaml")


def test_it_survives_json() -> None:
    selection = Selection(labs=["a"], max_size="1 GB", qc_at_most="PASS", dates=["2024-01-01.."])  # type: ignore[arg-type]
    assert Selection.model_validate_json(selection.model_dump_json()) == selection


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Selection(everything=True).labs = ["a"]


def test_prefect_makes_a_usable_form_of_it() -> None:
    def flow(selection: Selection) -> None: ...

    form = parameter_schema(flow).definitions["Selection"]
    assert form["additionalProperties"] is False
    fields = form["properties"]
    assert set(fields) == set(Selection.model_fields)
    assert all("default" in field and field["description"].endswith(".") for field in fields.values())
    assert fields["labs"] == {**fields["labs"], "type": "array", "items": {"type": "string"}, "default": []}
    assert fields["revision_rule"]["enum"] == ["default", "exact", "last_before", "all"]
    assert fields["protocols"]["default"] == list(PROC_PRECEDENCE)
