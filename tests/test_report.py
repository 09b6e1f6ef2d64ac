"""What a person sees of a run: how fast, how much is left, which source is bad, what failed, what comes next."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

import pytest

from tasks.layout import place_of
from tasks.ledger import Folder
from tasks.model import Outcome, State, Summary
from tasks.plan.planfile import Lines, Plan, Space, Total
from tasks.reporting import markdown
from tasks.telling.answers import Standing, answers, left
from tasks.telling.picture import as_markdown, picture
from tasks.telling.throughput import MOST_SAMPLES, Sample, Throughput, rates
from tasks.transfer.tally import Tally
from tasks.wording import batch_label, duration, span_words

MB = 1_000_000
FOLDER = "cortexlab/Subjects/KS005/2019-04-01/001"
BATCHES = (
    Lines(0, 1, 2, 8 * MB, "cortexlab", "2019-04-01", "2019-04-01"),
    Lines(1, 1, 2, 2 * MB, "churchlandlab, cortexlab", "2019-05-07", "2020-11-10"),
    Lines(2, 1, 1, 1),
)
PLAN = Plan(
    "id", "/data", "REST", Total(4, 10 * MB), Total(), Total(), 0, (), Space(1, 0), BATCHES, (), (), lambda *_: b""
)


def published(name="a.npy", size=MB, source="flatiron_lab", protocol="http"):
    return Outcome(name, f"{FOLDER}/alf/{name}", State.PUBLISHED, source, protocol, size, 1, size=size)


def failed(name="b.npy", verdict="SKIP_FILE", code="digest-mismatch", reason="It differs.", step="Compare them."):
    path = f"{FOLDER}/alf/{name}"
    return Outcome(name, path, State.FAILED, verdict=verdict, code=code, reason=reason, next_step=step, size=MB)


def standing(*outcomes, done=0, **more):
    return Standing(PLAN, Tally.of(outcomes), done, **more)


def over(*outcomes, stopped=""):
    summary = Summary(**{**Summary.of(outcomes).to_json(), "stopped": stopped})
    return standing(*outcomes, summary=summary)


def answer(about, question):
    """What stands below one of the questions."""
    text = "\n".join(answers(about))
    return text.partition(f"#### {question}\n\n")[2].partition("\n\n#### ")[0]


# --- how fast -----------------------------------------------------------------------------------------


def grown(*pairs):
    made = Throughput()
    for seconds, done in pairs:
        made.note(seconds, done)
    return made


def test_a_run_that_waits_says_for_what_until_it_ends():
    names = ["alyx-repository-a_lab", "alyx-server-b"]
    words = "\n".join(answers(standing(waited_for=names)))
    assert "Batches wait for a free slot of **alyx-repository-a\\_lab, alyx-server-b**" in words
    assert "Batches wait" not in "\n".join(answers(standing()))


def test_the_rate_is_that_of_the_last_half_minute():
    made = grown((0, 0), (60, 6 * MB), (90, 6 * MB), (110, 46 * MB))
    assert made.now() == 2 * MB
    assert made.seconds_for(10 * MB) == 5


@pytest.mark.parametrize("pairs", [(), ((0, 0),), ((0, 0), (5, 0)), ((0, 7), (0, 9))])
def test_where_nothing_moves_nobody_knows_how_long_it_takes(pairs):
    assert grown(*pairs).seconds_for(MB) is None


def test_bytes_never_shrink_though_a_partial_may_be_thrown_away():
    assert grown((0, 0), (1, 5), (2, 3)).samples[-1] == Sample(2, 5)


def test_a_run_of_a_day_has_few_samples_and_both_its_ends():
    made = grown(*((second, second * 10) for second in range(86_400)))
    assert len(made.samples) <= MOST_SAMPLES
    assert (made.samples[0], made.samples[-1]) == ((0, 0), (86_399, 863_990))
    assert {round(step.rate) for step in rates(made.samples)} == {10}


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "about 1 s"), (89, "about 89 s"), (95, "about 2 min"), (20_000, "about 6 h"),
                           (200_000, "about 2 days")],
)  # fmt: skip
def test_a_duration_is_said_roughly(seconds, words):
    assert duration(seconds) == words


# --- the four questions -------------------------------------------------------------------------------


def test_how_much_is_left_is_said_in_bytes_and_files_and_time():
    speed = grown((0, 0), (10, 4 * MB))
    about = standing(published(), done=4 * MB, throughput=speed)
    assert left(about) == "4.0 MB of 10.0 MB are done, 1 of 4 files; 6.0 MB are left: about 15 s at 400 kB/s."
    assert left(standing()) == "0 bytes of 10.0 MB are done, 0 of 4 files; 10.0 MB are left."


def test_at_the_end_only_what_is_missing_is_left():
    files = [published(str(number)) for number in range(4)]
    assert left(over(*files)) == "Nothing: all that can be had is there, and proven."
    assert left(over(*files[:3], failed())) == "1 file of 4."
    assert left(over(*files[:1], failed(), stopped="The disk is full.")) == "3 files of 4; 2 were not tried."


def test_a_source_that_could_not_give_is_named_with_what_it_gave():
    about = standing(published(), refusals={("http", "flatiron_lab"): (3, "The file is not there. x.npy: 404.")})
    said = answer(about, "Which source is bad?")
    assert "- flatiron\\_lab \\(http\\) gave 1 file and could not give 3; the last time: The file is not there." in said
    assert "What came until now: flatiron\\_lab \\(http\\) 1.0 MB." in said


def test_a_source_that_was_closed_stands_first():
    said = answer(over(published()), "Which source is bad?")
    assert said.startswith("None")
    about = standing(remarks=["aws_lab (aws) was closed."])
    assert answer(about, "Which source is bad?") == "- **aws\\_lab \\(aws\\) was closed.**"


def test_failures_of_one_reason_are_told_together():
    said = answer(over(failed("1"), failed("2"), failed("3", reason="Other.")), "What failed, and why?")
    assert said.splitlines() == [
        f"- {FOLDER}/alf/1 and 1 file more: It differs.".replace("_", "\\_"),
        f"- {FOLDER}/alf/3: Other.",
    ]
    assert answer(over(published()), "What failed, and why?") == "Nothing."


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (failed(), "1 file will rest for a week, or until Alyx registers something else"),
        (failed(verdict="RETRY", code="connect"), "1 file may mend without help: the next run tries again."),
        (failed(verdict="RETRY"), "may mend without help"),
        (failed(code="no-source"), "will be tried again by the next run, but somebody is needed."),
    ],
)
def test_what_comes_next_is_what_the_next_run_does(failure, words):
    said = answer(over(failure), "What will be tried next?")
    assert words in said
    assert "**Compare them.**" in said


def test_a_run_that_stopped_or_goes_on_says_what_comes_next():
    assert "The disk is full. The next run resumes" in answer(
        over(stopped="The disk is full."), "What will be tried next?"
    )
    assert "is resumed by the next one" in answer(standing(), "What will be tried next?")
    assert answer(over(published()), "What will be tried next?") == "Nothing but what changes in Alyx."


def test_what_strangers_say_is_no_markup():
    hostile = failed(reason="<img src=x onerror=alert(1)> [x](javascript:1)\n# big")
    said = "\n".join(answers(over(hostile)))
    assert "<img" not in said
    assert "](javascript" not in said
    assert "\n# big" not in said


# --- the picture --------------------------------------------------------------------------------------


def drawn(*pairs, given=None):
    return ET.fromstring(picture(grown(*pairs).samples, given or {}))  # noqa: S314  (our own drawing)


def words_of(svg):
    return [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_shows_the_peak_the_time_and_each_source():
    given = {("http", "flatiron_lab"): (3, 6 * MB), ("aws", "a<&>b"): (1, 2 * MB)}
    svg = drawn((0, 0), (2, 8 * MB), (4, 8 * MB), given=given)
    assert {"4.0 MB/s", "4 s", "flatiron_lab (http)", "6.0 MB, 3 files", "a<&>b (aws)"} <= set(words_of(svg))
    bars = [float(bar.get("width")) for bar in list(svg.iter("{http://www.w3.org/2000/svg}rect"))[1:]]
    assert bars[0] == pytest.approx(3 * bars[1], rel=0.01)
    (area,) = svg.iter("{http://www.w3.org/2000/svg}polygon")
    heights = [float(corner.split(",")[1]) for corner in area.get("points").split()]
    assert min(heights) == heights[1] < heights[3] == max(heights)


@pytest.mark.parametrize("pairs", [(), ((0, 0),), ((0, 0), (3, 0))])
def test_a_run_without_bytes_has_a_picture_too(pairs):
    assert "Throughput" in words_of(drawn(*pairs))


def test_the_summary_holds_the_picture_as_an_image_and_links_the_session():
    about = over(published(), failed())
    text = markdown(about, about.summary, [Folder(f"{FOLDER}/alf/", 1, MB)], "https://alyx.example.org")
    (encoded,) = re.findall(r"\]\(data:image/svg\+xml;base64,([\w+/=]+)\)", text)
    assert base64.b64decode(encoded).startswith(b"<svg")
    link = "https://alyx.example.org/sessions?subject=KS005&date_range=2019-04-01%2C2019-04-01&number=1"
    assert f"| [{FOLDER}]({link}) | 1 | 1.0 MB |" in text
    assert as_markdown("<svg/>", "a") == "![a](data:image/svg+xml;base64,PHN2Zy8+)"


# --- names --------------------------------------------------------------------------------------------


def test_a_batch_says_lab_dates_files_and_bytes():
    assert batch_label(PLAN, 0) == "batch 1 of 3 · cortexlab 2019-04-01 · 2 files · 8.0 MB"
    assert batch_label(PLAN, 1) == "batch 2 of 3 · churchlandlab, cortexlab 2019-05-07..2020-11-10 · 2 files · 2.0 MB"
    assert batch_label(PLAN, 2) == "batch 3 of 3 · 1 file · 1 bytes"


def test_a_run_does_not_say_twice_what_was_asked_for():
    assert span_words(BATCHES) == "churchlandlab, cortexlab 2019-04-01..2020-11-10"
    assert span_words(BATCHES[:1], "download cortexlab") == "2019-04-01"
    assert span_words(BATCHES[:1], "download cortexlab, 2019-04-01") == ""
    many = [Lines(0, 1, 1, 1, f"lab{number}") for number in range(5)]
    assert span_words(many) == "5 labs"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (f"{FOLDER}/alf/a.npy", (FOLDER, "cortexlab", "KS005", "2019-04-01", 1)),
        ("KS005/2019-04-01/12/a.npy", ("KS005/2019-04-01/12", "", "KS005", "2019-04-01", 12)),
        ("aggregates/Subjects/cortexlab/KS005/_ibl.pqt", None),
        ("a.npy", None),
    ],
)
def test_the_session_folder_is_read_out_of_a_path(path, place):
    assert place_of(path) == place
