"""The circuit breaker: a repository that keeps failing is asked last until it answers, and the report says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.clients import DownloadError, WireOptions
from tasks.clients.seams import Pace
from tasks.clients.verdicts import error
from tasks.model import Source, Summary
from tasks.plan.planfile import Plan, Space, Total
from tasks.reporting import markdown
from tasks.telling.answers import Standing
from tasks.transfer.switchboard import Switchboard
from tasks.transfer.tally import Tally
from tests.pace import FakePace

if TYPE_CHECKING:
    from tests.faults_client import Json

AWS, HTTP = Source("aws", "aws_lab", "s3://b/k"), Source("http", "flatiron_lab", "https://f/k")
RECORDS: dict[str, Json] = {
    "flatiron_lab": {"name": "flatiron_lab", "data_url": "https://f/"},
    "aws_lab": {"name": "aws_lab", "json": {"bucket_name": "public"}},
}


@pytest.fixture
def board() -> Switchboard:
    return Switchboard(RECORDS, WireOptions(), Pace())


def fail(board: Switchboard, source: Source, code: str, times: int) -> None:
    for _ in range(times):
        board.note(source, error(code, "storage.example.org: HTTP 503"))


def test_a_repository_that_keeps_failing_is_asked_last(board: Switchboard) -> None:
    fail(board, AWS, "server-error", 2)
    assert board.order([AWS, HTTP]) == [AWS, HTTP]
    assert board.remarks() == []
    fail(board, AWS, "server-error", 1)
    assert board.order([AWS, HTTP]) == [HTTP, AWS]
    (remark,) = board.remarks()
    assert remark.startswith("aws_lab (aws) failed 3 times in a row, and was asked last")
    assert "HTTP 503" in remark


def test_it_is_asked_first_again_once_it_answers_and_the_report_remembers(board: Switchboard) -> None:
    fail(board, AWS, "server-error", 5)
    board.note(AWS, None)
    assert board.order([AWS, HTTP]) == [AWS, HTTP]
    assert len(board.remarks()) == 1
    fail(board, AWS, "server-error", 2)
    assert board.order([AWS, HTTP]) == [AWS, HTTP]


def test_a_repository_that_asks_again_and_again_for_more_time_than_a_file_has_is_left_alone_for_it() -> None:
    pace = FakePace()
    board = Switchboard(RECORDS, WireOptions(deadline_seconds=600), pace)
    for _ in range(3):
        assert board.client(HTTP)
        board.note(HTTP, error("throttled", "f: HTTP 503", retry_after=3600))
    with pytest.raises(DownloadError) as caught:
        board.client(HTTP)
    assert (caught.value.code, caught.value.retry_after) == ("throttled", 3600)
    pace.wait(3600)
    assert board.client(HTTP)


def test_a_wait_that_a_file_has_time_for_is_not_cut_short_by_giving_up() -> None:
    board = Switchboard(RECORDS, WireOptions(deadline_seconds=600), FakePace())
    for _ in range(9):
        board.note(HTTP, error("throttled", "f: HTTP 503", retry_after=60))
    assert board.client(HTTP)


def test_success_between_failures_keeps_it_in_its_place(board: Switchboard) -> None:
    for _ in range(5):
        fail(board, AWS, "server-error", 2)
        board.note(AWS, None)
    assert board.order([AWS, HTTP]) == [AWS, HTTP]
    assert board.remarks() == []


def test_files_that_are_missing_are_no_trouble_of_the_repository(board: Switchboard) -> None:
    fail(board, AWS, "not-found", 9)
    assert board.order([AWS, HTTP]) == [AWS, HTTP]
    assert board.remarks() == []


def test_a_repository_that_refuses_the_login_is_closed(board: Switchboard) -> None:
    fail(board, AWS, "unauthorised", 1)
    with pytest.raises(DownloadError) as caught:
        board.client(AWS)
    assert caught.value.code == "unauthorised"
    assert board.client(HTTP)
    (remark,) = board.remarks()
    assert remark.startswith("aws_lab (aws) was closed, and not asked any more.")


def test_the_report_says_so_and_which_catalogue_served(board: Switchboard) -> None:
    fail(board, AWS, "server-error", 3)
    plan = Plan(
        "id", "/root", "REST of https://alyx", Total(), Total(), Total(), 0, (), Space(1, 0), (), (), (), lambda *_: b""
    )
    standing = Standing(plan, Tally(), refusals=board.refusals, remarks=board.remarks())
    text = markdown(standing, Summary())
    assert "#### Which source is bad?\n\n- **aws\\_lab \\(aws\\) failed 3 times" in text
    assert "- aws\\_lab \\(aws\\) gave 0 files and could not give 3; the last time: " in text
    assert "Catalogue: REST of https\\://alyx" in text
    assert "None that is closed or keeps failing." in markdown(Standing(plan, Tally()), Summary())
