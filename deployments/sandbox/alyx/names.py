"""How Alyx shows the rows of its small tables, whose keys are names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployments.sandbox.alyx.database import BORN, FORMATS, USER, labs_of_subjects
from deployments.sandbox.data import TAGS
from deployments.sandbox.model import identify

if TYPE_CHECKING:
    from deployments.sandbox.alyx.rows import Json, View


def lab(view: View, name: str) -> Json:
    """Show a lab."""
    mine = sorted(each.name for each in view.world.repositories.values() if each.lab == name)
    return {
        "name": name,
        "institution": "Sandbox",
        "address": "",
        "timezone": "Europe/London",
        "repositories": mine,
        "reference_weight_pct": 0.0,
        "zscore_weight_pct": 0.0,
        "json": None,
    }


def subject(view: View, name: str) -> Json:
    """Show a subject."""
    lab = labs_of_subjects(view.world)[name]
    projects = sorted({each.project for each in list(view.world.sessions.values()) if each.subject == name})
    nothing = dict.fromkeys(("litter", "strain", "source", "line"))
    return {
        "nickname": name,
        "url": f"{view.base}/subjects/{name}",
        "id": identify("subject", name),
        "responsible_user": USER,
        "birth_date": "2018-06-01",
        "age_weeks": 440,
        "death_date": None,
        "species": "Laboratory mouse",
        "sex": "M",
        **nothing,
        "projects": projects,
        "session_projects": projects,
        "lab": lab,
        "genotype": [],
        "description": "",
        "alive": True,
        "reference_weight": 0.0,
        "last_water_restriction": None,
        "expected_water": 0.0,
        "remaining_water": 0.0,
        "json": None,
    }


def user(view: View, name: str) -> Json:
    """Show a user."""
    return {
        "id": identify("user", name),
        "username": name,
        "email": f"{name}@localhost",
        "subjects_responsible": list(labs_of_subjects(view.world)) if name == USER else [],
        "lab": [],
        "allowed_users": [],
        "is_stock_manager": False,
    }


def project(_view: View, name: str) -> Json:
    """Show a project."""
    return {"name": name, "description": "", "users": [USER]}


def revision(_view: View, name: str) -> Json:
    """Show a revision."""
    return _named("revision", name) | {"description": "", "created_datetime": BORN}


def tag(_view: View, name: str) -> Json:
    """Show a tag."""
    return _named("tag", name) | {"description": "", "protected": TAGS[name], "public": TAGS[name], "hash": None}


def dataset_type(_view: View, name: str) -> Json:
    """Show a dataset type."""
    shown = {"created_by": None, "description": "", "filename_pattern": f"*{name}*"}
    return {"id": identify("dataset_type", name), "name": name} | shown


def data_format(_view: View, name: str) -> Json:
    """Show a data format."""
    extension = next(suffix for suffix, known in FORMATS.items() if known == name)
    loaders = {"matlab_loader_function": "", "python_loader_function": ""}
    return _named("data_format", name) | {"description": "", "file_extension": f".{extension}"} | loaders


def _named(table: str, name: str) -> Json:
    return {"id": identify(table, name), "json": None, "name": name}
