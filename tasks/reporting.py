"""What a person keeps of a run: a summary with a picture, a table of what failed, events.

The summary line is the same in log, artifact, event and JSON. Everything that comes from Alyx or a server is
escaped before it reaches Markdown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.events import emit_event

from tasks.layout import place_of
from tasks.telling.answers import answers, escape
from tasks.telling.picture import as_markdown, picture
from tasks.telling.progress import tolerant
from tasks.transfer.tally import Tally
from tasks.wording import files, headline, human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tasks.layout import Place
    from tasks.ledger import Folder
    from tasks.model import Json, Outcome, Summary
    from tasks.plan.planfile import Plan
    from tasks.telling.answers import Standing

#: A table of more rows helps nobody, and costs the server 20 microseconds a row.
MOST_ROWS = 500
#: Session folders that a summary names.
_MOST_FOLDERS = 20


def report_begin(plan: Plan) -> None:
    """Emit that a run begins, and what it is to do."""
    payload = {"files": plan.fetch.files + plan.check.files, "bytes": plan.fetch.bytes, "skipped": plan.skipped}
    emit_event("alyx.run.started", resource=_of_run(plan), payload=payload)


def report_batch(plan: Plan, label: str, summary: Summary) -> None:
    """Emit what became of a batch."""
    emit_event(
        "alyx.batch.finished",
        resource={"prefect.resource.id": f"alyx.run.{plan.id}.batch", "prefect.resource.name": label},
        payload={"summary": summary.to_json(), "stopped": summary.stopped},
    )


def report(standing: Standing, summary: Summary, folders: Iterable[Folder], alyx: str = "") -> None:
    """Write the summary and the table of failures as artifacts, and emit the run's events.

    Args:
        standing: How the run stands at its end.
        summary: Its numbers.
        folders: Where files were published.
        alyx: Address of Alyx, for links.
    """
    plan, tally = standing.plan, standing.tally
    with tolerant():
        text = markdown(standing, summary, folders, alyx)
        create_markdown_artifact(text, key="alyx-summary", description=f"{headline(summary)}. {summary.line()}")
        if tally.failed:
            description = f"{files(tally.failed)} failed: why, and what comes next."
            create_table_artifact(failure_table(tally.failures), key="alyx-failures", description=description)
    for remark in standing.remarks:
        emit_event("alyx.source.bad", resource=_of_run(plan), payload={"message": remark})
    emit_event(
        "alyx.run.finished",
        resource=_of_run(plan),
        payload={"summary": summary.to_json(), "stopped": summary.stopped, "remarks": list(standing.remarks)},
    )


def by_source(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], tuple[int, int]]:
    """Files and bytes that each source gave, by protocol and repository."""
    return dict(sorted(Tally.of(outcomes).given.items()))


def failure_table(failures: Sequence[Outcome]) -> list[dict[str, str | int]]:
    """The rows of the table artifact; what a person needs first stands where a narrow window shows it.

    Prefect's pages read every cell as Markdown.
    """
    return [
        {
            "file": escape(failure.path.rpartition("/")[2]),
            "next step": escape(failure.next_step),
            "reason": escape(failure.reason),
            "source": escape(failure.source),
            "verdict": escape(failure.verdict),
            "attempts": failure.attempts,
            "path": escape(failure.path),
        }
        for failure in failures[:MOST_ROWS]
    ]


def markdown(standing: Standing, summary: Summary, folders: Iterable[Folder] = (), alyx: str = "") -> str:
    """The summary as Markdown, below the line of numbers that describes it; see :func:`report`."""
    plan = standing.plan
    lines = [f"### {headline(summary)}", *answers(standing)]
    if standing.tally.given:
        svg = picture(standing.throughput.samples, standing.tally.given)
        lines += ["", "#### Which source gave what?", "", as_markdown(svg, "throughput, and what each source gave")]
    if standing.notes:
        lines += [
            "",
            "#### What did Globus do?",
            "",
            *(f"- {_with_link(note)}" for note in standing.notes[:_MOST_FOLDERS]),
        ]
    lines += ["", "#### Where is it?", "", f"Below {escape(plan.root)}"]
    lines += [*_folders(folders, alyx)]
    lines += ["", f"Catalogue: {escape(plan.catalogue)}"] if plan.catalogue else []
    return "\n".join(lines)


def _with_link(note: str) -> str:
    """A sentence that ends in an address of ours, as Markdown."""
    words, _, address = note.rpartition(": ")
    return f"{escape(words)}: <{address}>"


def _folders(folders: Iterable[Folder], alyx: str) -> Iterator[str]:
    """The session folders that got files, with a link to what Alyx knows of each session."""
    found: dict[Place, tuple[int, int]] = {}
    for folder in folders:
        if place := place_of(folder.folder):
            count, size = found.get(place, (0, 0))
            found[place] = (count + folder.files, size + folder.size)
    if found:
        yield from ("", "| session folder | files | bytes |", "| --- | ---: | ---: |")
    for place, (count, size) in sorted(found.items())[:_MOST_FOLDERS]:
        yield f"| {_linked(place, alyx)} | {count:,} | {human_bytes(size)} |"
    if len(found) > _MOST_FOLDERS:
        yield from ("", f"... and {len(found) - _MOST_FOLDERS:,} more.")


def _linked(place: Place, alyx: str) -> str:
    if not alyx:
        return escape(place.folder)
    query = {"subject": place.subject, "date_range": f"{place.day},{place.day}", "number": place.number}
    return f"[{escape(place.folder)}]({alyx}/sessions?{urlencode(query)})"


def _of_run(plan: Plan) -> Json:
    return {"prefect.resource.id": f"alyx.run.{plan.id}", "prefect.resource.name": plan.root}


def report_full(root: str, message: str) -> None:
    """Emit that a disk has too little room; an automation tells a person."""
    resource = {"prefect.resource.id": f"alyx.root.{root}", "prefect.resource.name": root}
    emit_event("alyx.disk.low", resource=resource, payload={"message": message})
