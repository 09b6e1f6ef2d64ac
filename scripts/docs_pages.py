"""Hooks of MkDocs: pages that are made from the code, so that they cannot say anything else than it does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner
from mkdocs.structure.files import File

sys.path.insert(0, str(Path(__file__).parents[1]))  # MkDocs starts elsewhere

from flows.cli import cli
from tasks.clients.verdicts import RULES, Verdict
from tasks.selection import Selection
from tasks.settings import AlyxSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from pydantic import BaseModel


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave out of the navigation what is not written yet."""
    folder = Path(config.docs_dir)
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    config.nav = _present(config.nav or [], written | set(_GENERATED))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, lines in _GENERATED.items():
        files.append(File.generated(config, name, content="\n".join(lines())))
    return files


def _present(nav: list[Any], written: set[str]) -> list[Any]:
    kept: list[Any] = []
    for entry in nav:
        ((title, what),) = entry.items()
        if isinstance(what, list):
            kept.append({title: _present(what, written)})
        elif what in written:
            kept.append(entry)
    return kept


def errors() -> Iterator[str]:
    """The catalogue: every error that a person can meet, by its code."""
    yield "# Errors\n"
    yield "A message ends with its code in brackets, such as `[alyx-login]`; here is what stands behind each."
    yield "`prefect-alyx explain CODE` says the same in the terminal.\n"
    yield "| verdict | what happens |\n| --- | --- |"
    yield from (f"| `{verdict}` | {verdict.meaning} |" for verdict in Verdict)
    for code, rule in sorted(RULES.items()):
        yield f"\n## {code}\n\n{rule.meaning}\n"
        yield f"**What to do:** {rule.next_step or 'Nothing.'}\n"
        yield f"**What happens:** {rule.verdict.meaning} (`{rule.verdict}`, concerns {rule.scope})"


def command() -> Iterator[str]:
    """The help of every verb, as the command itself shows it."""
    yield "# The command\n"
    yield "What `prefect-alyx VERB --help` says. stdout is data, stderr is talk.\n"
    for name in cli.commands:
        shown = CliRunner().invoke(cli, [name, "--help"], prog_name="prefect-alyx", terminal_width=80).stdout
        yield f"## {name}\n\n```text\n{shown}```\n"


def fields(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """A table of a model's fields."""
    yield "| name | default | meaning |\n| --- | --- | --- |"
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default in (None, "", []) else f"`{default}`"
        yield f"| `{prefix}{name.upper() if prefix else name}` | {shown} | {field.description} |"


def settings() -> Iterator[str]:
    """The settings, as Prefect reads them."""
    yield "# Settings\n"
    yield "From the environment, or from `prefect.toml`, where they stand below `[integrations.alyx]` in small letters"
    yield "and without the prefix; an option of the command or a flow parameter goes before them.\n"
    yield from fields(AlyxSettings, "PREFECT_INTEGRATIONS_ALYX_")


def selection() -> Iterator[str]:
    """The fields of a selection."""
    yield "# Fields of a selection\n"
    yield "The same fields are options of the command (`--lab` for one of `labs`), a YAML file (`--selection FILE`) and"
    yield "the form in Prefect's UI. Values of one field are alternatives; fields narrow one another. A misspelt field"
    yield "or value is an error that names the nearest one.\n"
    yield from fields(Selection)


_GENERATED = {
    "reference/errors.md": errors,
    "reference/command.md": command,
    "reference/settings.md": settings,
    "reference/selection.md": selection,
}
