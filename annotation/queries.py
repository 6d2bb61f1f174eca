"""Texts to and from Label Studio: questions to its list of tasks in the one form that it takes,
and what it says when it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

__all__ = ["PROJECT_FIELDS", "TASK_FIELDS", "filtered", "moment", "words_of"]

# Of a project and of a task what is used alone: to list the rest takes the server far longer.
PROJECT_FIELDS = "id,title,description,label_config,maximum_annotations"
TASK_FIELDS = "id,data,updated_at,total_annotations,cancelled_annotations"


def filtered(column: str, operator: str, value: str, *, kind: str = "Datetime") -> dict[str, Any]:
    """The list's query for tasks whose column compares so; an empty value asks for all."""
    if not value:
        return {}
    item = {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
    return {"filters": {"conjunction": "and", "items": [item]}}


def moment(when: datetime | None) -> str:
    """A time as a query has it, empty for none."""
    # Any other form of a time makes the server fail with 500.
    return "" if when is None else when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def words_of(body: Any) -> str:
    """The gist of a refusal on one line of at most 200 characters."""
    if isinstance(body, Mapping):
        body = body.get("validation_errors") or body.get("detail") or body
    text = " ".join(str(body).split())
    return "a web page" if text.lstrip().startswith("<") else text[:200]
