"""Answers from files take the place of questions that the server would ask, and no more of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from annotation.agreement import settle
from annotation.answered import Wanted, needless, off_the_server, reconciled
from annotation.desks import desks_of
from annotation.taken import Settling, take
from data_manifests.records import Annotation, Photo, Standing, Task
from data_manifests.store import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PHOTO = "ab" * 32


def asked(desk: str = "", state: str = "sent", **more: Any) -> Task:
    values: dict[str, Any] = {
        "task_key": f"{PHOTO}:triage:1" + (f":{desk}" if desk else ""),
        "photo_id": PHOTO,
        "kind": "triage",
        "state": state,
        "image_path": "p.jpg",
        "image_width": 4,
        "image_height": 4,
        "desk": desk,
    }
    if state != "waiting":
        values |= {"server": "s", "project_id": 1, "task_id": 7}
    return Task(**(values | more))


def said(who: str, source: str = "csv", key: str = f"{PHOTO}:triage:1", **more: Any) -> Annotation:
    values: dict[str, Any] = {
        "annotation_id": f"{source}:{who}:{PHOTO}",
        "task_key": key,
        "photo_id": PHOTO,
        "annotator": who,
        "state": "counted",
        "decision": "accept",
        "raw": "{}",
        "source": source,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Annotation(**(values | more))


def states(
    tasks: Iterable[Task], answers: Iterable[Annotation], wanted: Wanted | None = None
) -> dict[str, str]:
    """State by desk once the answers are reckoned in."""
    tasks, wanted = list(tasks), wanted or Wanted()
    after = {t.task_key: t for t in tasks}
    after |= {t.task_key: t for t in reconciled(tasks, list(answers), wanted)}
    assert len(after) == len(tasks)  # none is lost, none is made
    return {t.desk: t.state for t in after.values()}


@pytest.mark.parametrize("before", ["sent", "waiting"])
def test_a_question_answered_in_a_file_is_answered_and_open_again_when_that_is_taken_back(
    before: str,
) -> None:
    task = asked(state=before)
    assert states([task], [said("p")]) == {"": "labelled"}
    labelled = replace(task, state="labelled")
    assert states([labelled], [said("p", state="deleted")]) == {"": before}


@pytest.mark.parametrize(
    "answer",
    [
        said("p", decision=None),  # stars and keywords alone
        said("p", state="set_aside"),
        said("p", ground_truth=True),
        said("p", key=f"{PHOTO}:import:1"),
        said("p", source="import"),
    ],
)
def test_what_decides_nothing_answers_nothing(answer: Annotation) -> None:
    assert states([asked()], [answer]) == {"": "sent"}


def test_only_the_first_round_of_the_triage_is_answered_and_what_was_deleted_stays_so() -> None:
    others = [
        asked(task_key=f"{PHOTO}:triage:2", round=2),
        asked(task_key=f"{PHOTO}:retouch:1", kind="retouch"),
    ]
    assert not list(reconciled(others, [said("p")], Wanted()))
    assert states([asked(state="deleted")], [said("p")]) == {"": "deleted"}


def test_a_shared_question_that_wants_two_is_still_asked_of_a_second() -> None:
    two = Wanted(2)
    assert states([asked(state="waiting")], [said("p")], two) == {"": "waiting"}
    assert states([asked()], [said("p")], two) == {"": "labelled"}  # as after one on the server
    assert not needless([asked()], [said("p")], two)
    both = [said("p"), said("q", source="xmp")]
    assert states([asked(state="waiting")], both, two) == {"": "labelled"}
    assert needless([asked()], both, two) == {f"{PHOTO}:triage:1"}
    same = [said("p"), said("p", source="xmp")]
    assert not needless([asked()], same, two)  # one person


def test_a_persons_own_desk_is_answered_and_the_other_desk_stays() -> None:
    tasks = [asked("north"), asked("south")]
    wanted = Wanted(desk_of={"p": "north", "q": "south"})
    assert states(tasks, [said("p")], wanted) == {"north": "labelled", "south": "sent"}
    assert states(tasks, [said("q")], wanted) == {"north": "sent", "south": "labelled"}
    assert needless(tasks, [said("p")], wanted) == {f"{PHOTO}:triage:1:north"}


def test_a_person_without_a_desk_takes_the_place_of_one_that_nobody_answered_at() -> None:
    tasks = [asked("north"), asked("south"), asked("east")]
    ranked = desks_of(PHOTO, ("north", "south", "east"), 3)
    after = states(tasks, [said("p")])
    assert (Counter(after.values()), after[ranked[-1]]) == (
        {"labelled": 1, "sent": 2},
        "labelled",
    )
    key = f"{PHOTO}:triage:1:{ranked[-1]}"
    on_server = said("q", source="label_studio", key=key, annotation_id="s:1")
    after = states(tasks, [said("p"), on_server])
    assert after == {ranked[0]: "sent", ranked[1]: "labelled", ranked[2]: "labelled"}
    assert set(states(tasks, [said(w) for w in "abcdef"]).values()) == {"labelled"}


def test_a_question_taken_off_the_server_stays_answered_and_waits_again_if_it_must() -> None:
    off = off_the_server(asked(state="labelled"))
    assert (off.server, off.task_id, off.state) == (None, None, "labelled")
    assert not list(reconciled([off], [said("p")], Wanted()))
    assert states([off], [said("p")], Wanted(2)) == {"": "waiting"}
    assert states([off], [said("p", state="deleted")]) == {"": "waiting"}


def test_an_answer_on_the_server_keeps_its_task_whatever_becomes_of_the_file() -> None:
    on_server = said("q", source="label_studio", annotation_id="s:1")
    gone = said("p", state="deleted")
    assert states([asked(state="labelled")], [on_server, gone]) == {"": "labelled"}
    skipped = replace(on_server, state="skipped", decision=None)
    assert states([asked(state="skipped")], [skipped, gone]) == {"": "skipped"}
    assert states([asked(state="skipped")], [skipped, said("p")]) == {"": "labelled"}


def test_taking_answers_moves_tasks_and_standings_and_taking_them_back_does_too(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "tables")
    other = "cd" * 32
    photos = [Photo(photo_id=i, path=f"/{i}", state="kept", size_bytes=1) for i in (PHOTO, other)]
    store.upsert(Photo, photos, why="test")
    store.upsert(Task, [asked()], why="test")
    how = Settling(settle)
    take(store, [said("p")], how=how, why="test")
    assert [t.state for t in store.read(Task)] == ["labelled"]
    stands = {s.photo_id: s.waits_for for s in store.read(Standing)}
    assert stands == {PHOTO: "nobody", other: "photographer"}
    versions = [store.version(noun) for noun in (Task, Standing, Annotation)]
    take(store, [said("p")], how=how, why="test")
    assert [store.version(noun) for noun in (Task, Standing, Annotation)] == versions
    take(store, [], how=how, why="test", withdrawn=[said("p").annotation_id])
    assert [t.state for t in store.read(Task)] == ["sent"]
    assert {s.waits_for for s in store.read(Standing)} == {"photographer"}
