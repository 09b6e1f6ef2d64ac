"""Blocks: what a server keeps for workers without a home of their own."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import SecretStr

from tasks.blocks import AlyxCredentials, RemoteParams, use_blocks
from tasks.clients.verdicts import DownloadError
from tasks.rest.credentials import credentials_from
from tasks.settings import AlyxSettings


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def block(**fields):
    made = {"url": "https://alyx.example.org/", "user": "alice", "password": SecretStr("of-no-value")}
    return AlyxCredentials(**(made | fields))


def test_a_login_is_what_the_client_takes():
    login = block().credentials()
    assert (login.url, login.user, login.password.get_secret_value()) == (
        "https://alyx.example.org",
        "alice",
        "of-no-value",
    )
    assert block().client().url == "https://alyx.example.org"


def test_a_wrong_address_is_told():
    with pytest.raises(DownloadError, match="no web address"):
        block(url="http://:80").credentials()


def test_it_becomes_the_login_of_the_process(home):
    environment = {}
    block().enter(environment)
    login = credentials_from(environment)
    assert (login.url, login.user, login.password.get_secret_value()) == (
        "https://alyx.example.org",
        "alice",
        "of-no-value",
    )


def test_the_environment_goes_before_a_block():
    environment = {"ALYX_TOKEN": "mine", "ALYX_URL": "https://other.example.org"}
    block().enter(environment)
    assert environment == {"ALYX_TOKEN": "mine", "ALYX_URL": "https://other.example.org"}


@pytest.mark.parametrize(
    "made", [block(token=SecretStr("of-no-value")), RemoteParams(params={"aws": {"default": {"key": "of-no-value"}}})]
)
def test_no_secret_is_shown(made):
    assert "of-no-value" not in repr(made) + str(made) + json.dumps(made.model_dump(mode="json"))


def test_remote_params_go_from_one_machine_to_another(home, monkeypatch):
    fields = {"client_id": "of-no-value", "endpoints": {"a": "b"}}
    RemoteParams(params={"globus": {"default": fields}}).install()
    kept = RemoteParams.of_this_machine("globus", "aws")
    other = home / "other"
    other.mkdir()
    monkeypatch.setenv("HOME", str(other))
    kept.install()
    store = json.loads((other / ".one" / ".remote").read_text())
    assert store["globus"]["default"] == fields
    assert (other / ".one" / ".remote").stat().st_mode & 0o077 == 0


def test_fields_of_the_machine_itself_stay(home):
    RemoteParams(params={"globus": {"default": {"mine": 1, "both": 1}}}).install()
    RemoteParams(params={"globus": {"default": {"both": 2}}}).install()
    assert json.loads(Path(home, ".one", ".remote").read_text())["globus"]["default"] == {"mine": 1, "both": 2}


def test_none_is_used_by_default(home):
    use_blocks(AlyxSettings())
    assert not list(home.iterdir())


@pytest.mark.parametrize("kind", [AlyxCredentials, RemoteParams])
def test_they_look_as_prefects_own_do(kind):
    assert kind._logo_url
    assert kind._documentation_url
    assert "```python" in kind.get_code_example() or kind.get_code_example()
    assert all((field.description or "").endswith(".") for field in kind.model_fields.values())


def test_the_entry_point_names_the_module():
    found = [point for point in entry_points(group="prefect.collections") if point.name == "prefect_alyx"]
    text = Path(__file__).parents[1].joinpath("pyproject.toml").read_text()
    assert 'prefect_alyx = "tasks.blocks"' in text
    assert all(point.value == "tasks.blocks" for point in found)
