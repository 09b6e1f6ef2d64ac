"""The command `prefect-alyx`: one function a verb. stdout is data, stderr is talk.

Heavy imports wait until a verb needs them: Prefect alone takes four seconds, and `--help` is asked for often.
"""

from __future__ import annotations

import json
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.options import selection_from, selection_options
from tasks.clients.verdicts import DownloadError, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.fetching import Fetched
    from tasks.model import Json
    from tasks.planfile import Plan

#: Exit codes; a script can tell what to do next.
DONE, USAGE, FAILED, TEMPORARY, STOPPED = 0, 2, 3, 5, 7
_EXIT = {Verdict.RETRY: TEMPORARY, Verdict.STOP_RUN: STOPPED}
#: What the caller got wrong, though it stops a run as well.
_MISUSE = ("selection", "settings", "no-root", "alyx-no-url")

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Where the files go. Default: the setting, then ONE's cache directory.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, the summary last.")


def say(message: str) -> None:
    """Talk to the person, not to the pipe."""
    click.echo(message, err=True)


def main() -> None:
    """Run the command; every expected error is one message with a next step, and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a path with letters that the terminal lacks is no reason to end
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(cli(standalone_mode=False) or DONE)
    except DownloadError as failure:
        say(f"prefect-alyx: {failure.reason}\n  {failure.next_step}")
        sys.exit(USAGE if failure.code in _MISUSE else _EXIT.get(failure.verdict, USAGE))
    except click.ClickException as misuse:
        misuse.show()
        sys.exit(USAGE)
    except (click.Abort, KeyboardInterrupt):
        say("prefect-alyx: stopped; run it again, and it resumes.")
        sys.exit(STOPPED)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="prefect-alyx")
def cli() -> None:
    """Every dataset Alyx registers, on your disk, proven byte for byte."""


@cli.command()
@selection_options
@root_option
@json_option
def plan(root: Path | None, as_json: bool, **selected: Any) -> int:
    r"""Say what would be downloaded, from where, and what not and why. Touches nothing.

    \b
    prefect-alyx plan --session-id 01390fcc-4f86-4707-8a3b-4d9309feb0a1
    prefect-alyx plan --lab cortexlab --dates 2024-03-01..2024-03-31 --json
    """
    from tasks.preparing import prepare, require_place
    from tasks.settings import AlyxSettings
    from tasks.wording import plan_lines

    made = prepare(selection_from(selected), root, AlyxSettings.read())
    for row in _planned(made) if as_json else plan_lines(made):
        click.echo(json.dumps(row) if as_json else row)
    require_place(made)
    return DONE


@cli.command()
@selection_options
@root_option
@json_option
def fetch(root: Path | None, as_json: bool, **selected: Any) -> int:
    r"""Download, prove and publish the files of a selection; again and again, it resumes and converges.

    \b
    prefect-alyx fetch --session-id 01390fcc-4f86-4707-8a3b-4d9309feb0a1
    prefect-alyx fetch --selection mirror.yaml --root /data/alyx --json
    """
    from flows.fetching import fetch as run

    return _show(run(selection_from(selected), root, say), as_json)


@cli.command()
@root_option
@json_option
def retry(root: Path | None, as_json: bool) -> int:
    r"""Fetch what failed before, also what rests because another try hardly mends it.

    \b
    prefect-alyx retry --root /data/alyx
    """
    from flows.fetching import retry as run

    return _show(run(root, say), as_json)


def _show(fetched: Fetched, as_json: bool) -> int:
    for row in fetched.rows() if as_json else fetched.lines():
        click.echo(json.dumps(row) if as_json else row)
    return fetched.exit_code


@cli.command()
@click.option("--root", type=click.Path(path_type=Path), help="Keep the files here; else they are removed at the end.")
@click.option("--serve", is_flag=True, help="Keep the sandbox and Prefect's UI up until Ctrl-C.")
@click.option("--stop", is_flag=True, help="Stop the local Prefect server, and do nothing else.")
def demo(root: Path | None, serve: bool, stop: bool) -> int:
    r"""Download a whole lab from a sandbox on loopback, twice, and compare it with the truth.

    \b
    prefect-alyx demo --root ./demo-data
    prefect-alyx demo --stop
    """
    if stop:
        from flows.local_server import stop as stop_server

        stop_server(say)
        return DONE
    from deployments.sandbox.lab import Lab
    from flows.demo import demo as run

    say("Starting a lab on loopback: Alyx, two file servers, S3 ...")
    with Lab() as lab:
        return run(lab, root, serve=serve, say=say, show=click.echo)


def _planned(made: Plan) -> Iterator[Json]:
    """The plan as JSON lines, in the form that the run will have."""
    from tasks.model import Outcome, State, Summary

    for number in range(len(made.batches)):
        for transfer in made.transfers(number):
            first = transfer.sources[0]
            planned = Outcome(transfer.dataset, transfer.path, State.SKIPPED, first.repository, first.protocol)
            yield {**planned.to_json(), "state": "planned", "bytes": transfer.size or 0}
    yield from (Outcome(dataset, path, State.PRESENT).to_json() for dataset, path in made.present_files.items())
    yield from (Outcome(skip.dataset, skip.path, State.SKIPPED, reason=skip.reason).to_json() for skip in made.skips())
    files = made.fetch.files + made.check.files + made.present.files + made.skipped
    summary = Summary(files, made.fetch.bytes, present=made.present.files, skipped=made.skipped)
    yield {"summary": summary.to_json()}


if __name__ == "__main__":
    main()
