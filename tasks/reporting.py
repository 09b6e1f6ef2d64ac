"""What a person sees of a run: progress that moves, a table of what failed, a summary, events, the one line.

The summary line is the same in log, artifact, event and JSON. Everything that comes from Alyx or a server is
escaped before it reaches Markdown.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.events import emit_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from tasks.model import Outcome, Summary
    from tasks.planfile import Plan

#: A table of more rows helps nobody, and costs the server 20 microseconds a row.
MOST_ROWS = 500
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def human_bytes(count: float) -> str:
    """Bytes as a person says them, in powers of 1000."""
    power = 0
    while abs(count) >= 999.5 and power < len(_UNITS) - 1:  # noqa: PLR2004
        count /= 1000
        power += 1
    return f"{count:,.0f} {_UNITS[power]}" if power < 1 or count >= 99.5 else f"{count:.1f} {_UNITS[power]}"  # noqa: PLR2004


def escape(text: str) -> str:
    """Make text of strangers harmless in Markdown and HTML: no markup, no control characters, one line."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    escaped = html.escape(printable, quote=False)
    for character in "\\`*_[]()|#!~":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped


class Progress:
    """The progress artifact of one flow run."""

    def __init__(self, plan: Plan) -> None:
        self.total = plan.fetch.bytes + plan.check.bytes or plan.fetch.files + plan.check.files
        description = f"{plan.fetch.files + plan.check.files:,} files, {human_bytes(plan.fetch.bytes)} into {plan.root}"
        self._artifact: UUID = create_progress_artifact(0.0, key="alyx-progress", description=escape(description))  # type: ignore[assignment]
        self._shown = 0.0

    def show(self, done: int) -> None:
        """Move to `done` bytes; it never moves backwards."""
        percent = min(100.0, 100.0 * done / self.total) if self.total else 100.0
        if percent > self._shown:
            self._shown = percent
            update_progress_artifact(artifact_id=self._artifact, progress=percent)

    def line(self) -> str:
        """How far it is, for a log that is no terminal."""
        return f"{self._shown:.0f} % of {human_bytes(self.total)}"

    def complete(self) -> None:
        """Move to the end."""
        update_progress_artifact(artifact_id=self._artifact, progress=100.0)


def report(
    plan: Plan, summary: Summary, failures: Sequence[Outcome], by_source: Iterable[tuple[str, str, int, int]]
) -> None:
    """Write the summary and the table of failures as artifacts, and emit the run's event.

    Args:
        plan: What was to be done.
        summary: What became of it.
        failures: What failed, with reason and next step.
        by_source: Protocol, repository, files and bytes that each source gave.
    """
    create_markdown_artifact(
        markdown(plan, summary, failures, by_source), key="alyx-summary", description=f"{summary.line()}"
    )
    if failures:
        create_table_artifact(
            failure_table(failures), key="alyx-failures", description="What failed, why, and what next."
        )
    emit_event(
        "alyx.run.finished",
        resource={"prefect.resource.id": f"alyx.run.{plan.id}", "prefect.resource.name": plan.root},
        payload={"summary": summary.to_json(), "stopped": summary.stopped},
    )


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


def markdown(
    plan: Plan, summary: Summary, failures: Sequence[Outcome], by_source: Iterable[tuple[str, str, int, int]]
) -> str:
    """The summary as Markdown."""
    lines = [
        f"# {headline(summary)}",
        "",
        f"`{summary.line()}`",
        "",
        f"Root: {escape(plan.root)}",
        "",
        "| protocol | source | files | bytes |",
        "| --- | --- | ---: | ---: |",
        *(
            f"| {escape(protocol)} | {escape(source)} | {files:,} | {human_bytes(size)} |"
            for protocol, source, files, size in by_source
        ),
    ]
    if failures:
        lines += ["", "## What failed, and what comes next", ""]
        lines += [f"- {escape(one.path)}: {escape(one.reason)} **{escape(one.next_step)}**" for one in failures[:20]]
    if summary.stopped:
        lines += ["", f"**The run stopped early:** {escape(summary.stopped)}"]
    return "\n".join(lines)


def headline(summary: Summary) -> str:
    """One sentence: is all well?"""
    if summary.stopped:
        return "The run was stopped"
    if summary.failed:
        return f"{summary.failed:,} of {summary.files:,} files failed"
    if summary.published:
        return f"{summary.published:,} files published, {human_bytes(summary.bytes)}"
    return "Nothing to do: every file is there and proven"
