"""What is installed: the locks of CI and of the image, the audit, and what the containers may do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def pinned(text):
    """Versions by name; a package may have one for each Python."""
    pins = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE):
        pins.setdefault(canonicalize_name(name), set()).add(version)
    return pins


LOCKS = {name: (ROOT / name / "requirements.lock").read_text() for name in (".", "deployments")}
EXTRAS = {".": ("dask", "docs", "postgresql", "report", "tables", "test"), "deployments": ("tables",)}


@pytest.fixture
def audit():
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_is_pinned_and_hashed(lock):
    parts = re.split(r"^(?=[\w.-]+==)", LOCKS[lock], flags=re.MULTILINE)[1:]
    assert len(parts) > 100
    assert all("--hash=sha256:" in part for part in parts)
    assert not re.search(r"https?://|file:|--index-url|--find-links|git\+", LOCKS[lock])


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_satisfies_what_the_project_asks_for(lock):
    pins, project = pinned(LOCKS[lock]), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (line for extra in EXTRAS[lock] for line in project["optional-dependencies"][extra])
    for line in (*project["dependencies"], *extras):
        wanted = Requirement(line)
        found = pins.get(canonicalize_name(wanted.name), set())
        assert found or wanted.name == project["name"], f"{wanted.name} is not in the lock: make lock"
        assert all(Version(one) in wanted.specifier for one in found), f"{wanted}: the lock has {found}: make lock"


def test_the_image_has_the_versions_that_the_tests_ran_with():
    tested, shipped = pinned(LOCKS["."]), pinned(LOCKS["deployments"])
    assert not {name: pins for name, pins in shipped.items() if name in tested and not pins <= tested[name]}


@pytest.mark.parametrize("installer", ["deployments/Dockerfile", "scripts/environment.sh"])
def test_image_and_ci_install_the_lock_and_nothing_else(installer):
    installs = re.findall(r"pip install .+", (ROOT / installer).read_text())
    assert all("--no-deps" in one for one in installs)
    assert ["--require-hashes" in one for one in installs] == [True, False]  # the second one is this project
    assert "--no-build-isolation" in installs[1]


def test_what_is_installed_here_is_what_the_lock_names():
    here = {canonicalize_name(one.metadata["Name"]): one.version for one in importlib.metadata.distributions()}
    if ".venv-" in sys.prefix:
        pytest.skip("the lowest and the newest versions have no lock")
    assert not {name: here[name] for name, pins in pinned(LOCKS["."]).items() if here.get(name, "") not in {"", *pins}}


def test_the_image_is_not_root():
    assert re.search(r"^USER lab$", (ROOT / "deployments" / "Dockerfile").read_text(), re.MULTILINE)


def test_containers_have_no_more_rights_than_they_need():
    services = yaml.safe_load((ROOT / "deployments" / "compose.yaml").read_text())["services"]
    for name in ("server", "provision", "worker"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert services[name]["security_opt"] == ["no-new-privileges:true"]
        assert services[name]["read_only"] is True
        assert "privileged" not in services[name]


@pytest.mark.parametrize(
    ("version", "found"),
    [("0.9", False), ("1.0", True), ("1.4.9", True), ("1.5", False), ("2.1", True), ("3.0", False)],
)
def test_an_advisory_counts_for_the_versions_that_it_names(audit, tmp_path, version, found):
    folder = tmp_path / "vulns" / "some-package"
    folder.mkdir(parents=True)
    events = [{"introduced": "1.0"}, {"fixed": "1.5"}, {"introduced": "2.0"}, {"last_affected": "2.9"}]
    affected = [{"ranges": [{"type": "ECOSYSTEM", "events": events}], "versions": ["2.1"]}]
    (folder / "PYSEC-1.yaml").write_text(yaml.safe_dump({"id": "PYSEC-1", "affected": affected}))
    gone = {"id": "PYSEC-2", "withdrawn": "2026-01-01T00:00:00Z", "affected": [{"versions": [version]}]}
    (folder / "PYSEC-2.yaml").write_text(yaml.safe_dump(gone))
    names = {"some-package": Version(version)}
    assert [one["id"] for *_, one in audit.advisories(tmp_path, names)] == (["PYSEC-1"] if found else [])


def test_without_a_list_it_is_skipped_with_a_word(audit, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ADVISORIES", str(tmp_path))
    assert audit.main() == 0
    assert "skipped" in capsys.readouterr().out
