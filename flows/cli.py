"""The command `prefect-alyx`: one function a verb. stdout is data, stderr is talk.

Heavy imports wait until a verb needs them: Prefect alone takes four seconds, and `--help` is asked for often.
"""

from __future__ import annotations

import signal
import sys
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.exit_codes import DONE, STOPPED, TEMPORARY, USAGE
from flows.options import selection_from, selection_options
from flows.run_options import bwlimit_option, report_option
from flows.talk import complain, say, show
from flows.verbs import Verbs
from tasks.clients.verdicts import RULES, DownloadError, Verdict, os_error
from tasks.hints import did_you_mean
from tasks.wording import coded, wrapped

if TYPE_CHECKING:
    from flows.fetched import Fetched
    from tasks.keeping.mirroring import Mode

#: What the caller got wrong, though it stops a run as well.
_MISUSE = ("selection", "settings", "no-root", "alyx-no-url")
_EXIT = {Verdict.RETRY: TEMPORARY, Verdict.STOP_RUN: STOPPED}

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Where the files go. Default: the setting, then ONE's cache directory.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, the summary last.")


def main() -> None:
    """Run the command; every expected error is one message with a next step, and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a path with letters that the terminal lacks is no reason to end
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a scheduler sends means what Ctrl-C means
    try:
        sys.exit(cli(sys.argv[1:] or ["--help"], prog_name="prefect-alyx", standalone_mode=False) or DONE)
    except DownloadError as failure:
        complain(coded(failure.reason, failure.code), failure.next_step)
        sys.exit(USAGE if failure.code in _MISUSE else _EXIT.get(failure.verdict, USAGE))
    except click.ClickException as misuse:
        context = misuse.ctx if isinstance(misuse, click.UsageError) else None
        place = context.command_path if context else "prefect-alyx"
        complain(misuse.format_message(), f"`{place} --help` shows what there is, with examples.")
        sys.exit(USAGE)
    except OSError as refused:
        if refused.filename is None:  # no file of this machine is the matter
            raise
        told = os_error(refused, refused.filename)
        complain(coded(told.reason, told.code), told.next_step)
        sys.exit(STOPPED)
    except (click.Abort, KeyboardInterrupt):
        say("prefect-alyx: stopped; run it again, and it resumes.")
        sys.exit(STOPPED)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="prefect-alyx")
def cli() -> None:
    """Every dataset Alyx registers, on your disk, proven byte for byte."""


@cli.command()
@root_option
@json_option
def doctor(root: Path | None, as_json: bool) -> int:
    r"""Look at everything that a run needs: this machine, ONE's files, the disk, Alyx, every repository.

    Each line is `ok`, `note` or `FAIL`, with what to do about it. Ends with 0 where nothing fails, with 5 where
    what fails may mend by itself, else with 7. Nothing is changed, and no secret is shown.

    \b
    prefect-alyx doctor
    prefect-alyx doctor --root /data/alyx --json
    """
    from flows.doctor import Doctor, exit_code, summary

    findings = []
    for finding in Doctor(root).findings():
        findings.append(finding)
        show([finding.to_json()] if as_json else finding.lines())
    if as_json:
        show([summary(findings)])
    return exit_code(findings)


@cli.command()
@click.argument("what", metavar="PROTOCOL", type=click.Choice(["alyx", "http", "aws", "globus", "kachary", "kachery"]))
@click.option("--profile", default="default", show_default=True, help="Which profile of the protocol.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field, so that it is not asked for. NAME=- reads it from standard input: for secrets.",
)
def setup(what: str, profile: str, settings: tuple[str, ...]) -> int:
    r"""Set up http, aws, globus or kachery in ONE's params store, or the login to `alyx` in ONE's own file.

    At a terminal it asks for what is not given; elsewhere what is missing is an error that names it. Arguments
    are seen by every user of this machine (`ps`): give a secret on standard input, Alyx's as ALYX_PASSWORD.

    \b
    prefect-alyx setup alyx
    prefect-alyx setup globus
    prefect-alyx setup http --set HTTP_DATA_SERVER=https://data.example.org \
        --set HTTP_DATA_SERVER_LOGIN=ana --set HTTP_DATA_SERVER_PWD=- < password
    """
    from flows.setting_up import ALYX, fields_from, set_alyx_up, set_protocol_up

    if what == ALYX and profile != "default":
        raise click.UsageError("Alyx has no profiles: ONE keeps one login a host.")
    fields = fields_from(settings, say)
    say(set_alyx_up(fields) if what == ALYX else set_protocol_up(what, profile, fields))
    return DONE


@cli.command()
@selection_options
@root_option
@json_option
def plan(root: Path | None, as_json: bool, **selected: Any) -> int:
    """Say what would be downloaded, from where, and what not and why. Touches nothing.

    \b
    prefect-alyx plan --session 01390fcc-4f86-4707-8a3b-4d9309feb0a1
    prefect-alyx plan --lab cortexlab --dates 2024-03-01..2024-03-31 --json
    """
    from tasks.preparing import prepare, require_place
    from tasks.settings import AlyxSettings
    from tasks.wording import plan_lines, plan_rows

    made = prepare(selection_from(selected), root, AlyxSettings.read())
    show(plan_rows(made) if as_json else plan_lines(made))
    require_place(made)
    return DONE


@cli.command()
@selection_options
@root_option
@bwlimit_option
@report_option
@json_option
def fetch(root: Path | None, as_json: bool, report: Path | None, **selected: Any) -> int:
    """Download, prove and publish the files of a selection; again and again, it resumes and converges.

    \b
    prefect-alyx fetch --session 01390fcc-4f86-4707-8a3b-4d9309feb0a1
    prefect-alyx fetch --selection mirror.yaml --root /data/alyx --json
    """
    from flows.fetching import fetch as run

    return _show(run(selection_from(selected), root, say), as_json, report)


@cli.command()
@selection_options
@root_option
@bwlimit_option
@report_option
@json_option
def adopt(root: Path | None, as_json: bool, report: Path | None, **selected: Any) -> int:
    """Take over what ONE downloaded: prove each file that is there, and fetch anew only what is damaged.

    Without a selection: all labs that have a directory under the root.

    \b
    prefect-alyx adopt
    prefect-alyx adopt --root ~/Downloads/ONE/alyx.example.org --lab cortexlab
    """
    from flows.fetching import adopt as run

    return _show(run(selection_from(selected) if any(selected.values()) else None, root, say), as_json, report)


@cli.command()
@root_option
@bwlimit_option
@report_option
@json_option
def retry(root: Path | None, as_json: bool, report: Path | None) -> int:
    """Fetch what failed before, also what rests because another try hardly mends it.

    \b
    prefect-alyx retry --root /data/alyx
    """
    from flows.fetching import retry as run

    return _show(run(root, say), as_json, report)


@cli.command()
@root_option
@json_option
def status(root: Path | None, as_json: bool) -> int:
    r"""Say how things stand: last runs, what failed, why and when it is tried again, what is under way.

    From the ledger and, where one is configured or runs here, from Prefect. It works without a network.

    \b
    prefect-alyx status --root /data/alyx
    prefect-alyx status --json
    """
    from flows.status import status as look
    from tasks.settings import AlyxSettings

    found = look(root, AlyxSettings())
    show(found.rows() if as_json else found.lines())
    return DONE


@cli.command()
@selection_options
@root_option
@click.option(
    "--mode",
    type=click.Choice(["changed", "failed", "all"]),
    default="changed",
    show_default=True,
    help="What changed since the last complete run and what failed before; only the latter; or all.",
)
@bwlimit_option
@report_option
@json_option
def sync(root: Path | None, mode: Mode, as_json: bool, report: Path | None, **selected: Any) -> int:
    """Keep a selection mirrored: bring what changed since the last complete run, and what failed before.

    \b
    prefect-alyx sync --selection mirror.yaml --root /data/alyx
    prefect-alyx sync --lab cortexlab --mode all
    """
    from flows.fetching import sync as run

    return _show(run(selection_from(selected), root, mode, say), as_json, report)


@cli.command()
@root_option
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of the tree that is read, the oldest proofs first.",
)
@bwlimit_option
@report_option
@json_option
def verify(root: Path | None, share: float, as_json: bool, report: Path | None) -> int:
    """Read the files on disk, and fetch anew what is not what it was proven to be; nothing is deleted.

    \b
    prefect-alyx verify --root /data/alyx --share 0.1
    """
    from flows.fetching import verify as run

    return _show(run(root, share, say), as_json, report)


def _show(fetched: Fetched, as_json: bool, report: Path | None) -> int:
    show(fetched.rows() if as_json else fetched.lines())
    if report:
        from flows.html_report import write_report

        write_report(fetched, report)
        say(f"The report is in {report}")
    return fetched.exit_code


@cli.command()
@root_option
@click.option("--to", type=click.Path(path_type=Path), help="Where the tables go. Default: beside the files.")
def tables(root: Path | None, to: Path | None) -> int:
    """Write ONE's cache tables of what is proven under the root, so that ONE opens it without a network.

    \b
    prefect-alyx tables --root /data
    python -c "from one.api import One; print(One(cache_dir='/data').search())"
    """
    if not find_spec("pyarrow"):
        raise click.UsageError("The tables need pyarrow: `pip install prefect-alyx[tables]`.")
    from tasks.alyx import AlyxClient
    from tasks.preparing import find_root
    from tasks.settings import AlyxSettings
    from tasks.tables.writing import write_tables

    alyx = AlyxClient()
    place = find_root(root, AlyxSettings.read(), alyx)
    say(f"Tables of {write_tables(place, alyx, to):,} datasets lie in {to or place}.")
    return DONE


@cli.command()
@click.argument("code")
def explain(code: str) -> int:
    r"""Say what is behind the code that a message ends with, such as [alyx-login].

    \b
    prefect-alyx explain alyx-login
    prefect-alyx explain disk-full
    """
    rule = RULES.get(code.strip("[]"))
    if rule is None:
        raise click.UsageError(f"There is no error {code!r}{did_you_mean(code, RULES)}.")
    step = rule.next_step or "Nothing."
    for name, text in (("what", rule.meaning), ("to do", step), ("then", f"{rule.verdict}: {rule.verdict.meaning}")):
        show(wrapped(text, " " * 7, first=f"{name:7}"))
    return DONE


@cli.command()
@click.option("--check", "only_check", is_flag=True, help="Only check the files, and send nothing.")
@click.option(
    "--site",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("deployments/site.yaml"),
    show_default=True,
    help="The one file that a site edits.",
)
@click.option(
    "--prefect-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Another prefect.yaml than the one that comes along.",
)
def deploy(only_check: bool, site: Path, prefect_file: Path | None) -> int:
    """Bring pool, limits, variables, automations and deployments to the Prefect server; again, it changes nothing.

    \b
    prefect-alyx deploy --check
    prefect-alyx deploy --site site.yaml
    """
    from deployments.provision import PREFECT_YAML, prepared, provision
    from flows.local_server import prefect_api

    known, lined = prepared(site, prefect_file or PREFECT_YAML)
    if only_check:
        click.echo(f"{lined.path}: {len(lined.data['deployments'])} deployments, and Prefect knows every key.")
        click.echo(f"{site}: every key is known.")
        return DONE
    with prefect_api(say):
        changed = provision(known, click.echo, lined)
    click.echo(f"{changed} made or altered" if changed else "Nothing to change: the server has all of it")
    return DONE


@cli.command()
@click.option("--root", type=click.Path(path_type=Path), help="Keep the files here; else they are removed at the end.")
@click.option("--serve", is_flag=True, help="Keep the sandbox and Prefect's UI up until Ctrl-C.")
@click.option("--faults", is_flag=True, help="Download through the fault server instead, and print the matrix.")
@click.option("--stop", is_flag=True, help="Stop the local Prefect server, and do nothing else.")
def demo(root: Path | None, serve: bool, faults: bool, stop: bool) -> int:
    """Download a whole lab from a sandbox on loopback, twice, and compare it with the truth.

    \b
    prefect-alyx demo --root ./demo-data
    prefect-alyx demo --stop
    """
    if stop:
        from flows.local_server import stop as stop_server

        stop_server(say)
        return DONE
    if faults:
        from flows.fault_demo import fault_demo

        return fault_demo(say=say, show=click.echo)
    from deployments.sandbox.full import FullLab
    from flows.demo import demo as run

    say("Starting a lab on loopback: Alyx, two file servers, S3, Globus, kachery ...")
    with FullLab() as lab:
        return run(lab, root, serve=serve, say=say, show=click.echo)


if __name__ == "__main__":
    main()
