"""What is installed: the lock of the image, the audit, and what the containers may do."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "deployments" / "requirements.lock").read_text()
PINNED = {
    canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK, re.MULTILINE)
}


@pytest.fixture
def audit():
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_package_of_the_image_is_pinned_and_hashed():
    parts = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(parts) == len(PINNED) > 100
    assert all("--hash=sha256:" in part for part in parts)
    assert not re.search(r"https?://|file:|--index-url|--find-links|git\+", LOCK)


def test_the_lock_satisfies_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for line in (*project["dependencies"], *project["optional-dependencies"]["tables"]):
        wanted = Requirement(line)
        found = PINNED.get(canonicalize_name(wanted.name))
        assert found, f"{wanted.name} is not in the lock: make lock"
        assert Version(found) in wanted.specifier, f"{wanted}: the lock has {found}: make lock"


def test_the_image_installs_the_lock_and_nothing_else_and_is_not_root():
    text = (ROOT / "deployments" / "Dockerfile").read_text()
    assert "--require-hashes" in text
    assert "--no-deps" in text
    assert re.search(r"^USER lab$", text, re.MULTILINE)


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
