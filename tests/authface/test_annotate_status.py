"""What the lead of a studio sees: the status on a terminal, as JSON and as a page; a history."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from annotation.agreement import settle
from authface.cli import app
from authface.settings import init_workspace
from authface.status_page import seconds
from data_manifests.errors import AuthFaceError
from data_manifests.records import Annotation, Box, Consensus, Photo, Region, Task
from data_manifests.store import Store
from data_manifests.traces import _MADE_HERE

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
PHOTOS = [f"{n:x}" * 64 for n in range(1, 4)]
PEOPLE = {"north": "3f9a1c77d0e2b481", "south": "a81be90c4412ffd0"}

pytestmark = pytest.mark.usefixtures("fresh_console")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three photos at two desks; on the second people disagree, the third has a broken answer."""
    root = tmp_path / "studio"
    init_workspace(root)
    monkeypatch.setenv("AUTHFACE_WORKSPACE", str(root))
    monkeypatch.chdir(tmp_path)
    store = Store(root / "tables")
    store.upsert(Photo, [_photo(p) for p in PHOTOS], why="ingest")
    answers = [
        *(_answer(PHOTOS[0], desk) for desk in PEOPLE),
        _answer(PHOTOS[1], "north"),
        _answer(PHOTOS[1], "south", "reject", lead_time_s=120.0, reasons=("noise",)),
        _answer(PHOTOS[2], "north", None, state="set_aside", flags=("missing_required",)),
    ]
    tasks = [_task(p, desk) for p in PHOTOS for desk in PEOPLE]
    tasks[-2:] = [replace(tasks[-2], state="set_aside"), replace(tasks[-1], state="sent")]
    store.upsert(Task, tasks, why="sent")
    _pull(store, answers)
    return root


def _photo(photo: str) -> Photo:
    return Photo(
        photo_id=photo,
        path=f"/photos/{photo[0]}.jpg",
        state="kept",
        size_bytes=1,
        width=8192,
        height=6000,
    )


def _task(photo: str, desk: str) -> Task:
    return Task(
        task_key=f"{photo}:triage:1:{desk}",
        photo_id=photo,
        kind="triage",
        state="labelled",
        image_path="p.jpg",
        image_width=1,
        image_height=1,
        desk=desk,
        project_id=3 if desk == "north" else 4,
        sent_at=NOON,
    )


def _answer(photo: str, desk: str, decision: str | None = "accept", **values: Any) -> Annotation:
    face = Box(left=10, top=10, right=110 if desk == "north" else 105, bottom=110)
    defaults: dict[str, Any] = {
        "annotation_id": f"server:{photo[0]}-{desk}",
        "task_key": f"{photo}:triage:1:{desk}",
        "photo_id": photo,
        "annotator": PEOPLE[desk],
        "state": "counted",
        "decision": decision,
        "raw": '[{"secret": "as it came"}]',
        "lead_time_s": 12.0,
        "created_at": NOON,
        "updated_at": NOON,
        "regions": (Region(label="subject_face", box=face),),
    }
    return Annotation(**(defaults | values))


def _pull(store: Store, answers: list[Annotation]) -> None:
    store.upsert(Annotation, answers, why="pull from server")
    every = store.read(Annotation)
    settled = [settle(p, [a for a in every if a.photo_id == p]) for p in PHOTOS]
    store.upsert(Consensus, settled, why="pull from server")


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ["annotate", *words])


def said(*words: str) -> str:
    done = typed(*words)
    assert done.exit_code == 0, done.output
    return " ".join(re.sub(r"[│┃]", " ", done.output).split())


@pytest.mark.usefixtures("workspace")
def test_a_terminal_shows_projects_waits_people_agreement_and_rules() -> None:
    told = said("status")
    assert "triage at north (project 3) 3 2 0 1 0 0 0" in told
    assert "photographer at south triage 1 2026-06-01 12:00" in told
    assert "adjudicator people disagree 1 -" in told
    assert "people disagree 1 50% 0" in told
    assert "3f9a1c77d0e2b481 2 0 1 0 12 s 50% 100%" in told
    assert "Decision 2 2 50%" in told
    assert "Face 2 2 95% - -" in told
    assert "triage 4 12 s 12 s and 39 s" in told
    assert "missing_required 1" in told
    assert "No local Label Studio is running." in told


@pytest.mark.usefixtures("workspace")
def test_json_holds_the_same_figures_and_nothing_else() -> None:
    told = json.loads(typed("status", "--json").stdout)
    (first, _) = told["people"]
    assert (first["annotator"], first["median_s"], first["with_peers"]) == (
        "3f9a1c77d0e2b481",
        12.0,
        0.5,
    )
    assert {w["who"] for w in told["waits"]} == {"photographer at south", "adjudicator", "the lead"}
    assert (told["drafts"], told["label_studio"]) == (None, None)
    assert len(told["paces"][0]["bars"]) == len(told["time_edges_s"])


def test_an_empty_workspace_has_a_status_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_workspace(tmp_path / "new")
    monkeypatch.setenv("AUTHFACE_WORKSPACE", str(tmp_path / "new"))
    monkeypatch.chdir(tmp_path)
    assert "No local Label Studio is running." in said("status", "--html", "page.html") + said(
        "status"
    )
    assert "Nothing was asked yet" in Path("page.html").read_text()


def test_the_page_is_whole_in_itself_and_an_erasure_knows_it(workspace: Path) -> None:
    page = workspace / "status.html"
    assert "the page is" in said("status", "--html", str(page))
    written = page.read_bytes()
    assert _MADE_HERE in written[:4096]
    text = written.decode()
    assert "<script" not in text
    assert not re.search(r"(src|href)=|url\(", text)
    for told in ("Annotation in studio", "triage at north", "people disagree", *PEOPLE.values()):
        assert told in text
    assert "as it came" not in text


@pytest.mark.browser
def test_a_browser_shows_the_page_without_complaint_on_a_screen_and_a_phone(
    workspace: Path, browser: Any
) -> None:
    page = workspace / "status.html"
    said("status", "--html", str(page))
    complaints: list[str] = []
    browser.on("console", lambda message: complaints.append(message.text))
    for width in (1440, 390):
        browser.set_viewport_size({"width": width, "height": 900})
        browser.goto(page.as_uri())
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.locator("svg.bar").first.bounding_box()["width"] > 100
        cut = "[...document.querySelectorAll('.card')].filter(c => c.scrollWidth > c.clientWidth)"
        assert browser.evaluate(f"{cut}.length") == 0
    assert complaints == []


def test_a_history_shows_every_version_with_who_and_when(workspace: Path) -> None:
    store = Store(workspace / "tables")
    later = _answer(PHOTOS[1], "south", "accept", updated_at=NOON + timedelta(days=1))
    _pull(store, [replace(later, reasons=(), edited_by=PEOPLE["north"])])
    told = said("history", PHOTOS[1][:8])
    assert told.count("annotations@") == 2
    assert f"+ server:2-north of {PEOPLE['north']}: triage round 1 at north" in told
    assert (
        f"~ server:2-south of {PEOPLE['south']}: triage round 1 at south, last changed by" in told
    )
    assert "decision: reject -> accept" in told
    assert "2026-06-02 12:00:00 UTC" in told
    assert "as it came" not in told
    assert said("history", "/photos/2.jpg") == told
    assert said("history", "2.jpg") == told
    alone = json.loads(typed("history", "server:2-south", "--json").stdout)
    assert [step["kind"] for step in alone] == ["added", "changed"]
    assert ["decision", "reject", "accept"] in alone[1]["fields"]


def test_an_answer_that_is_gone_is_still_in_the_history(workspace: Path) -> None:
    store = Store(workspace / "tables")
    store.remove(Annotation, ["server:1-north"], why="mended by hand")
    told = said("history", "server:1-north")
    assert f"- server:1-north of {PEOPLE['north']}" in told
    assert "mended by hand" in told


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("name", ["nobody", "11111"])
def test_a_name_that_means_no_answer_is_told(name: str) -> None:
    done = typed("history", name)
    assert isinstance(done.exception, AuthFaceError)
    assert "No answered photo and no answer" in str(done.exception)


@pytest.mark.parametrize(
    ("time", "words"),
    [(None, ""), (3.14, "3.1 s"), (9.96, "10 s"), (99.9, "100 s"), (99.96, "1.7 min")],
)
def test_times_are_told_in_the_unit_that_people_would_say(time: float | None, words: str) -> None:
    assert seconds(time) == words


def test_answers_about_restored_faces_are_told(workspace: Path) -> None:
    photo = "f" * 64
    store = Store(workspace / "tables")
    task = replace(_task(photo, "north"), task_key=f"{photo}:review:1", kind="review")
    store.upsert(Task, [task], why="doubtful restorations to review")
    answer = replace(
        _answer(photo, "north", "fix", reasons=("identity_changed",)),
        task_key=task.task_key,
        note="the mouth is another",
    )
    store.upsert(Annotation, [answer], why="pull")
    seen = " ".join(typed("status").output.split())
    assert "Doubtful restored faces: 1 to be done again (identity_changed 1x)." in seen
    assert "the mouth is another" in seen
    told = json.loads(typed("status", "--json").stdout)
    assert told["restored_faces"][0]["photo_id"] == photo
