"""Two demo reviewers who answer through Label Studio's own API, or a wait for a person.

The answers are made up: they show how accepts, rejects, skips and disagreements are merged, and say
nothing about the photos.
"""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotation.connect import open_studio
from annotation.questions import TRIAGE
from annotation.server import add_person, login_of, running
from annotation.studio import Studio
from authface import console
from authface.settings import open_workspace
from data_manifests.errors import RemoteError
from data_manifests.media import Workspace
from data_manifests.records import Photo, Task
from data_manifests.store import Store

__all__ = ["review", "wait_for_person"]

SECOND = "second-reviewer@authface.local"

# What the first and the second reviewer say about each photo in turn; from the last one on, accept.
PLAN = (
    ("accept", "accept"),
    ("retouch", "retouch"),
    ("reject", "reject"),
    ("skip", "skip"),
    ("accept", "reject"),
    ("accept", "accept"),
)
# What the built-in portrait shows; a user's own photos get no tags but the suggested ones.
BUILT_IN_TAGS = {
    "gender": "woman",
    "expression": "smile",
    "gaze": "looking_at_camera",
    "light_quality": "soft_light",
    "clothing": "uniform",
}


def review(root: Path) -> None:
    """Answer every triage task that nobody has answered yet, as two people."""
    workspace, settings = open_workspace(root)
    console.heading("two demo reviewers answer through Label Studio's API")
    with open_studio(workspace, settings.annotate) as studio:
        people = _people(workspace, studio)
        given = _given(studio, workspace)
        tags = BUILT_IN_TAGS if (root / "originals").is_dir() else {}
        for place, (task, name) in enumerate(_tasks(workspace)):
            said = PLAN[min(place, len(PLAN) - 1)]
            seen = given[task.task_id]
            for person in range(seen["answers"], len(people)):
                result = _result(said[person], seen["draft"], tags)
                studio.submit(
                    seen["id"],
                    result,
                    token=people[person],
                    cancelled=said[person] == "skip",
                    lead_time=12.0,
                )
            console.say(f"  {name}: {' / '.join(said)}")


def wait_for_person(root: Path) -> None:
    """Open Label Studio in the browser and wait until every task is answered, or for Ctrl-C."""
    workspace, settings = open_workspace(root)
    login = login_of(workspace)
    with open_studio(workspace, settings.annotate) as studio:
        address = f"{studio.url}/projects/"
        console.heading(f"answer the tasks at {address}")
        console.say(f"  e-mail {login['email']}, password {login['password']}")
        console.say("  the walk goes on when every task has an answer; Ctrl-C goes on at once")
        webbrowser.open(address)
        try:
            while any(not seen["answers"] for seen in _given(studio, workspace).values()):
                time.sleep(5)
        except KeyboardInterrupt:
            console.note("going on with the answers that are there")


def _people(workspace: Workspace, studio: Studio) -> tuple[str | None, str]:
    found = running(workspace)
    if found is None or found.url != studio.url:
        raise RemoteError(
            "The demo reviewers answer only in the workspace's own Label Studio.",
            "Unset LABEL_STUDIO_URL, or use `authface demo --interactive`.",
        )
    return None, add_person(workspace, found.url, SECOND)


def _tasks(workspace: Workspace) -> list[tuple[Task, str]]:
    """The triage tasks on the server with their photo's name, in the order of the names.

    What the two disagree on stays asked: that is for somebody else.
    """
    store = Store(workspace.tables)
    names = {p.photo_id: Path(p.path).name for p in store.read(Photo)}
    asked = [t for t in store.read(Task) if t.kind == TRIAGE.kind and t.round == 1]
    sent = [t for t in asked if t.task_id is not None]
    return sorted(((t, names[t.photo_id]) for t in sent), key=lambda pair: pair[1])


def _given(studio: Studio, workspace: Workspace) -> dict[int | None, dict[str, Any]]:
    """How many answers each triage task has (a skip is one), and its suggestions, by task id."""
    projects = {t.project_id for t, _ in _tasks(workspace) if t.project_id is not None}
    return {
        int(raw["id"]): {
            "id": int(raw["id"]),
            "answers": len(raw.get("annotations") or ()),
            "draft": [r for p in raw.get("predictions") or () for r in p.get("result") or ()],
        }
        for project in projects
        for raw in studio.tasks(project)
    }


def _result(
    said: str, draft: Sequence[Mapping[str, Any]], tags: Mapping[str, str]
) -> list[dict[str, Any]]:
    """An answer as the form would send it: the suggestions confirmed, a decision, some tags."""
    # A skip carries the whole form in Label Studio, as here: the merge must still not count it.
    decision = "accept" if said == "skip" else said
    suggested = {r["from_name"] for r in draft}
    added = [_choice(q, v) for q, v in tags.items() if q not in suggested]
    reason = [_choice("reject_reason", "soft_focus")] if decision == "reject" else []
    return [*_confirmed(draft), _choice("decision", decision), *reason, *added]


def _confirmed(draft: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k != "score"} | {"origin": "prediction"} for r in draft]


def _choice(question: str, value: str) -> dict[str, Any]:
    return {
        "id": f"demo-{question}",
        "from_name": question,
        "to_name": TRIAGE.picture,
        "type": "choices",
        "value": {"choices": [value]},
    }
