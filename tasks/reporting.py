"""What a person sees of a run: progress that moves, a table of what failed, a summary, events, the one line.

The summary line is the same in log, artifact, event and JSON. Everything that comes from Alyx or a server is
escaped before it reaches Markdown.
"""

from __future__ import annotations

import html
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.events import emit_event

from tasks.model import Outcome, State
from tasks.wording import headline, human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from uuid import UUID

    from tasks.model import Summary
    from tasks.planfile import Plan

_log = logging.getLogger(__name__)

#: A table of more rows helps nobody, and costs the server 20 microseconds a row.
MOST_ROWS = 500


def escape(text: str) -> str:
    """Make text of strangers harmless in Markdown and HTML: no markup, no control characters, one line."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    escaped = html.escape(printable, quote=False)
    for character in "\\`*_[]()|#!~":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped


@contextmanager
def tolerant() -> Iterator[None]:
    """Go on without telling, where the Prefect server does not answer: what is told never stops bytes."""
    try:
        yield
    except httpx.HTTPError as failure:
        _log.warning("The Prefect server does not answer, and the run goes on without telling it: %s", failure)


class Progress:
    """The progress artifact of one flow run."""

    def __init__(self, plan: Plan) -> None:
        self.total = plan.fetch.bytes + plan.check.bytes or plan.fetch.files + plan.check.files
        description = f"{plan.fetch.files + plan.check.files:,} files, {human_bytes(plan.fetch.bytes)} into {plan.root}"
        self._artifact: UUID | None = None
        self._shown = 0.0
        with tolerant():
            made = create_progress_artifact(0.0, key="alyx-progress", description=escape(description))
            self._artifact = cast("UUID", made)

    def show(self, done: int) -> None:
        """Move to `done` bytes; it never moves backwards."""
        percent = min(100.0, 100.0 * done / self.total) if self.total else 100.0
        if percent > self._shown:
            self._shown = percent
            self._update()

    def line(self) -> str:
        """How far it is, for a log that is no terminal."""
        return f"{self._shown:.0f} % of {human_bytes(self.total)}"

    def complete(self) -> None:
        """Move to the end."""
        self._shown = 100.0
        self._update()

    def _update(self) -> None:
        if self._artifact:
            with tolerant():
                update_progress_artifact(artifact_id=self._artifact, progress=self._shown)


def report(plan: Plan, summary: Summary, outcomes: Sequence[Outcome], remarks: Sequence[str] = ()) -> None:
    """Write the summary and the table of failures as artifacts, and emit the run's event.

    Args:
        plan: What was to be done.
        summary: What became of it.
        outcomes: What became of each transfer.
        remarks: What is to be known of the repositories (`Switchboard.remarks`).
    """
    failures = [outcome for outcome in outcomes if outcome.state is State.FAILED]
    text = markdown(plan, summary, outcomes, remarks)
    with tolerant():
        create_markdown_artifact(text, key="alyx-summary", description=summary.line())
        if failures:
            description = "What failed, why, and what comes next."
            create_table_artifact(failure_table(failures), key="alyx-failures", description=description)
    emit_event(
        "alyx.run.finished",
        resource={"prefect.resource.id": f"alyx.run.{plan.id}", "prefect.resource.name": plan.root},
        payload={"summary": summary.to_json(), "stopped": summary.stopped, "remarks": list(remarks)},
    )


def by_source(outcomes: Iterable[Outcome]) -> dict[tuple[str, str], tuple[int, int]]:
    """Files and bytes that each source gave, by protocol and repository."""
    given: dict[tuple[str, str], tuple[int, int]] = {}
    for outcome in outcomes:
        if outcome.state is State.PUBLISHED:
            files, size = given.get((outcome.protocol, outcome.source), (0, 0))
            given[outcome.protocol, outcome.source] = (files + 1, size + (outcome.size or 0))
    return dict(sorted(given.items()))


def failure_table(failures: Sequence[Outcome]) -> list[dict[str, str | int]]:
    """The rows of the table artifact."""
    return [
        {
            "path": failure.path,
            "source": failure.source,
            "verdict": failure.verdict,
            "attempts": failure.attempts,
            "reason": failure.reason,
            "next step": failure.next_step,
        }
        for failure in failures[:MOST_ROWS]
    ]


def markdown(plan: Plan, summary: Summary, outcomes: Sequence[Outcome], remarks: Sequence[str] = ()) -> str:
    """The summary as Markdown."""
    sources = [
        f"| {escape(protocol)} | {escape(source)} | {files:,} | {human_bytes(size)} |"
        for (protocol, source), (files, size) in by_source(outcomes).items()
    ]
    lines = [f"# {headline(summary)}", "", f"`{summary.line()}`", "", f"Root: {escape(plan.root)}", ""]
    lines += [f"Catalogue: {escape(plan.catalogue)}", ""] if plan.catalogue else []
    if sources:
        lines += ["| protocol | source | files | bytes |", "| --- | --- | ---: | ---: |", *sources]
    if remarks:
        lines += ["", "## Repositories in trouble", "", *(f"- {escape(remark)}" for remark in remarks)]
    failures = [outcome for outcome in outcomes if outcome.state is State.FAILED]
    if failures:
        lines += ["", "## What failed, and what comes next", ""]
        lines += [f"- {escape(one.path)}: {escape(one.reason)} **{escape(one.next_step)}**" for one in failures[:20]]
    if summary.stopped:
        lines += ["", f"**The run stopped early:** {escape(summary.stopped)}"]
    return "\n".join(lines)


def report_full(root: str, message: str) -> None:
    """Emit that a disk has too little room; an automation tells a person."""
    resource = {"prefect.resource.id": f"alyx.root.{root}", "prefect.resource.name": root}
    emit_event("alyx.disk.low", resource=resource, payload={"message": message})
