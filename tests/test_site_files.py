"""Dockerfile, compose.yaml and the units: what they name is there, and Prefect knows every setting in them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.settings import Settings

CHECKOUT = Path(__file__).parents[1]
DEPLOYMENTS = CHECKOUT / "deployments"
COMPOSE = yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text())
DOCKERFILE = (DEPLOYMENTS / "Dockerfile").read_text()
UNITS = sorted((DEPLOYMENTS / "systemd").glob("*.service"))
SETTINGS = {name.upper() for name in Settings().to_environment_variables(exclude_unset=False)}


def known_settings():
    names = set()

    def walk(model):
        for field in model.model_fields.values():
            for choice in getattr(field.validation_alias, "choices", None) or ():
                names.update([choice.upper()] if isinstance(choice, str) else [])
            if hasattr(field.annotation, "model_fields"):
                prefix = (field.annotation.model_config.get("env_prefix") or "").upper()
                names.update(f"{prefix}{name.upper()}" for name in field.annotation.model_fields)
                walk(field.annotation)

    walk(Settings)
    return names | SETTINGS | {"PREFECT_HOME"}


def named(text):
    return set(re.findall(r"\bPREFECT_[A-Z_]+\b", text))


@pytest.mark.parametrize(
    "path", [DEPLOYMENTS / "compose.yaml", DEPLOYMENTS / "Dockerfile", *UNITS], ids=lambda p: p.name
)
def test_prefect_knows_every_setting(path):
    assert named(path.read_text())
    assert named(path.read_text()) <= known_settings()


def test_a_setting_that_does_not_exist_would_be_found():
    assert "PREFECT_SERVER_SERVICES_DB_VACCUM_ENABLED" not in known_settings()


def against_the_schema(path):
    """What the schema of compose files has against a file."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compose_knows_every_key():
    done = against_the_schema(DEPLOYMENTS / "compose.yaml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("old", "new"), [("restart: on", "restarts: on"), ("interval: 5s", "intervall: 5s"), ("_healthy}", "_helthy}")]
)
def test_a_key_that_compose_does_not_know_is_found(tmp_path, old, new):
    text = (DEPLOYMENTS / "compose.yaml").read_text()
    assert old in text
    path = tmp_path / "compose.yaml"
    path.write_text(text.replace(old, new))
    assert against_the_schema(path).returncode == 1


def test_what_a_service_waits_for_can_come_true():
    services = COMPOSE["services"]
    for service in services.values():
        for name, wait in (service.get("depends_on") or {}).items():
            assert name in services
            assert wait["condition"] != "service_healthy" or "healthcheck" in services[name]
            assert wait["condition"] != "service_completed_successfully" or services[name]["restart"] == "on-failure"
    assert set(services) == {"database", "server", "provision", "worker"}


def test_only_the_owner_of_the_storage_writes():
    assert DOCKERFILE.index("USER lab") > DOCKERFILE.index("pip install")
    assert COMPOSE["x-image"]["build"]["args"].keys() == {"LAB_UID", "LAB_GID"}


def test_no_secret_is_in_the_files():
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            assert "PASSWORD" not in name or re.fullmatch(r"\$\{\w+(:[-?].*)?\}", value)


def test_what_is_copied_into_the_image_is_there():
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        assert all((CHECKOUT / source).exists() for source in sources)


def test_the_command_is_one_of_ours_or_of_prefect():
    commands = [service["command"] for service in COMPOSE["services"].values() if "command" in service]
    assert {command[0] for command in commands} == {"prefect", "prefect-alyx"}
    assert COMPOSE["services"]["provision"]["command"][1] == "deploy"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_the_units(unit, tmp_path):
    text = unit.read_text().replace("/opt/prefect-alyx/.venv/bin/prefect-alyx", "/bin/true")
    copy = tmp_path / unit.name
    copy.write_text(text.replace("/opt/prefect-alyx/.venv/bin/prefect", "/bin/true"))
    run = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert not [line for line in run.stderr.splitlines() if unit.name in line], run.stderr
