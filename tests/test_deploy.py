"""What is sent to a Prefect server is checked before: every mistake is told with line and key."""

from __future__ import annotations

from uuid import uuid4

import pytest

from deployments.automations import automations, substance
from deployments.check import checked
from deployments.lines import Lined
from deployments.provision import AUTOMATIONS_YAML, PREFECT_YAML, limits
from deployments.site import Site
from tasks.clients.verdicts import DownloadError
from tasks.model import Source, Transfer
from tasks.transfer.limits import limits_of

PREFECT = PREFECT_YAML.read_text()
SITE = PREFECT_YAML.with_name("site.yaml").read_text()


def refused(read, path, text):
    path.write_text(text)
    with pytest.raises(DownloadError) as caught:
        read(path)
    return caught.value.reason


def line_of(text, part):
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


# --- prefect.yaml -----------------------------------------------------------------------------------


def test_the_shipped_file_is_known_to_the_last_key():
    found = checked(PREFECT_YAML)
    names = [row["name"] for row in found.data["deployments"]]
    assert names == ["nightly", "retry-failed", "weekly", "twice-a-day", "on-demand", "shard", "on-demand"]
    limited = [row for row in found.data["deployments"] if row["name"] != "shard"]  # the fleet itself limits those
    assert all(row["concurrency_limit"]["collision_strategy"] for row in limited)


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("    work_pool: &pool\n", "    work_pool: &pool\n      concurrency_limit: 3\n", "concurrency_limit",
         "Prefect ignores this key here: it belongs into a deployment"),
        ("      limit: 1\n", "      limit: 1\n      timezone: UTC\n", "timezone", "it belongs into a schedule"),
        ("        slug: weekly\n", "        slug: weekly\n        work_queue_name: urgent\n", "work_queue_name",
         "it belongs into work_pool"),
        ("name: prefect-alyx", "name: prefect-alyx\ncron: 0 1 * * *", "cron", "it belongs into a schedule"),
        ("description: Moves", "descripton: Moves", "descripton", "did you mean 'description'"),
        ("        slug: weekly\n", "        slug: weekly\n        slog: weekly\n", "slog", "did you mean 'slug'"),
        ("      share: 0.15", "      sher: 0.15", "sher", "did you mean 'share'"),
        ("parameters: {mode: all}", "parameters: {mod: all}", "mod", "did you mean 'mode'"),
        ("        env:\n", "        envs:\n", "envs", "did you mean 'env'"),
        ("      collision_strategy: ENQUEUE", "      collision_strategy: QUEUE", "collision_strategy", "'ENQUEUE'"),
        ("      limit: 4", "      limit: many", "limit", "valid integer"),
        ('cron: "0 5 * * SUN"', 'cron: "0 5 * *"', "cron", "Invalid cron"),
        ("flows.canary.canary", "flows.canary.canari", "entrypoint", "cannot be loaded"),
        ("flows.canary.canary", "flows.canaries.canary", "entrypoint", "cannot be loaded"),
        ("    tags: [alyx, canary]\n", "    tags: [alyx, canary]\n    tags: [other]\n", "tags", "given twice"),
    ],
)  # fmt: skip
def test_what_prefect_would_ignore_or_trip_over_is_told(tmp_path, old, new, key, words):
    assert old in PREFECT
    text = PREFECT.replace(old, new, 1)
    path = tmp_path / "prefect.yaml"
    reason = refused(checked, path, text)
    told = next(line for line in reason.splitlines() if str(path) in line and words in line)
    assert key in told.split(": ")[1]
    number = int(told.removeprefix(f"  {path}:").split(":")[0])
    assert key in text.splitlines()[number - 1]


def test_all_mistakes_are_told_at_once(tmp_path):
    text = PREFECT.replace("tags: [alyx, canary]", "tag: [alyx]").replace("tags: [alyx, verify]", "tagz: [alyx]")
    reason = refused(checked, tmp_path / "prefect.yaml", text)
    assert "tag: Prefect ignores" in reason
    assert "tagz: Prefect ignores" in reason


def test_the_command_tells_each_mistake_on_a_line_of_its_own(tmp_path, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "prefect.yaml"
    path.write_text(PREFECT.replace("tags: [alyx, canary]", "tag: [alyx]").replace("tags: [alyx, verify]", "tagz: [a]"))
    done = command("deploy", "--check", "--prefect-file", path)
    told = [line.strip() for line in done.err.splitlines() if line.strip().startswith(f"{path}:")]
    assert (done.code, len(told)) == (2, 2)


def test_a_scheduled_run_has_all_that_its_flow_needs(tmp_path):
    text = PREFECT.replace('      selection: "{{ prefect.variables.alyx_selection }}"\n', "", 1)
    assert "the flow needs selection" in refused(checked, tmp_path / "prefect.yaml", text)


@pytest.mark.parametrize("text", ["", "- a", "deployments: 5", "deployments: [1]", "a: [", "deployments: [{}]"])
def test_what_is_no_such_file_is_refused(tmp_path, text):
    assert str(tmp_path) in refused(checked, tmp_path / "prefect.yaml", text)


# --- site.yaml --------------------------------------------------------------------------------------


def test_the_shipped_site_is_read(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    site = Site.read(path)
    assert site.variables()["alyx_selection"] == {"labs": ["cortexlab"]}
    assert site.webhook({}) == ""
    assert site.webhook({"ALYX_WEBHOOK_URL": "http://127.0.0.1/hook"}) == "http://127.0.0.1/hook"
    assert limits(site) == {"alyx-host-openalyx.internationalbrainlab.org": 4}


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("timezone: Europe/London", "timezone: Europe/Londn", "timezone", "did you mean 'Europe/London'"),
        ("timezone: Europe/London", "time_zone: UTC", "time_zone", "did you mean 'timezone'"),
        ("  labs: [cortexlab]", "  lab: [cortexlab]", "selection.lab", "did you mean 'labs'"),
        ("  labs: [cortexlab]", '  dates: ["2024-13-01"]', "selection.dates.0", "no date"),
        ("  alyx: 4", "  alyx: none", "limits.alyx", "valid integer"),
        ("  repositories: {}", "  repository: {}", "limits.repository", "did you mean 'repositories'"),
        ("heartbeat_seconds: 60", "heartbeat_seconds: 5", "heartbeat_seconds", "greater than or equal to 30"),
        ("work_pool: alyx", "work_pool: a/b", "work_pool", "pattern"),
        ("alyx_url: https://open", "alyx_url: https://me:secret@open", "alyx_url", "password"),
    ],
)
def test_a_mistake_names_line_and_key(tmp_path, old, new, place, words):
    assert old in SITE
    text = SITE.replace(old, new, 1)
    path = tmp_path / "site.yaml"
    reason = refused(Site.read, path, text)
    number = line_of(text, new.split(":")[0] + ":")
    assert f"{path}:{number}: {place}: " in reason
    assert words in reason
    assert "secret" not in reason


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DownloadError, match="No such file"):
        Site.read(tmp_path / "site.yaml")


# --- automations ------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    return Site.read(path)


def test_without_a_webhook_only_what_needs_none_is_made(site):
    assert [one.name for one in automations(AUTOMATIONS_YAML, site, None)] == ["alyx-zombie-runs"]
    assert len(automations(AUTOMATIONS_YAML, site, uuid4())) == 5


def test_a_partial_run_is_over_and_no_zombie(site):
    (zombie,) = automations(AUTOMATIONS_YAML, site, None)
    ends = {"Completed", "Partial", "Failed", "Cancelled", "Crashed"}
    assert {f"prefect.flow-run.{name}" for name in ends} <= zombie.trigger.expect
    assert zombie.trigger.within.total_seconds() == 3 * site.heartbeat_seconds


def test_the_same_file_makes_the_same_automations(site):
    webhook = uuid4()
    first, second = (automations(AUTOMATIONS_YAML, site, webhook) for _ in range(2))
    assert [substance(one) for one in first] == [substance(one) for one in second]
    longer = site.model_copy(update={"freshness_hours": 30})
    assert [substance(one) for one in automations(AUTOMATIONS_YAML, longer, webhook)] != list(map(substance, first))


def test_a_mistake_in_the_automations_is_told(site, tmp_path):
    path = tmp_path / "automations.yaml"
    path.write_text(AUTOMATIONS_YAML.read_text().replace("state: CRASHED", "state: DEAD"))
    with pytest.raises(DownloadError, match=r"automations.yaml:\d+: 0.actions"):
        automations(path, site, None)


# --- limits -----------------------------------------------------------------------------------------


def test_a_batch_asks_for_the_slots_of_its_first_sources():
    def transfer(*sources):
        return Transfer("id", "a.npy", 1, "", tuple(Source(*source) for source in sources))

    http = ("http", "flatiron_a", "https://data.example.org:8443/a.npy")
    s3 = ("aws", "aws_a", "s3://bucket-a/key/a.npy")
    names = limits_of([transfer(http, s3), transfer(s3), transfer()])
    assert names == [
        "alyx-repository-aws_a",
        "alyx-repository-flatiron_a",
        "alyx-server-bucket-a",
        "alyx-server-data.example.org-8443",
    ]


def test_lines_are_those_of_keys_and_items(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("a:\n  - b: 1\n    c: 2\n  - 3\n")
    found = Lined.read(path)
    assert found.where(("a", 0, "c")) == f"{path}:3: a.0.c"
    assert found.where(("a", 1)) == f"{path}:4: a.1"
    assert found.where(("a", 0, "missing")).startswith(f"{path}:2: ")
