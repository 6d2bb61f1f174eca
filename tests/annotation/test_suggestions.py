"""What people are shown before they answer, and in which order they are asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from annotation.form_lint import DATA_KEYS
from annotation.labeling import lint
from annotation.questions import FORMS, TRIAGE
from annotation.suggestions import caption_draft, suggest, uncertainty
from annotation.tasks import MODEL_VERSION, retouch_tasks, task_json, triage_tasks
from data_manifests.records import Consensus, Face, Photo, Suggestion, Task
from data_manifests.store import Store

CLIP = "open_clip ViT-B-32/openai"


@pytest.fixture
def photo(add_photos: Callable[..., list[Photo]], tmp_path: Path) -> Photo:
    return add_photos(Store(tmp_path / "tables"), tmp_path / "media")[0]


@pytest.fixture
def faces(photo: Photo, tmp_path: Path) -> list[Face]:
    return Store(tmp_path / "tables").read(Face)


def said(question: str, value: str, score: float = 0.6, origin: str = CLIP) -> Suggestion:
    return Suggestion(question=question, value=value, score=score, origin=origin)


def with_model(photo: Photo, *suggestions: Suggestion) -> Photo:
    return replace(photo, suggestions=suggestions)


def test_a_measured_fact_goes_before_a_models_guess(photo: Photo, faces: list[Face]) -> None:
    guessed = with_model(photo, said("shot", "group", 0.99), said("hair", "long_hair"))
    found = {s.question: s for s in suggest(guessed, faces)}
    assert (found["shot"].value, found["hair"].value) == ("shoulders_up", "long_hair")
    assert (found["focal_length"].origin, found["hair"].origin) == ("exif", CLIP)
    assert found["shot"].origin == "face by-hand-1"


def test_of_two_guesses_the_surer_one_is_shown_and_of_many_all(photo: Photo) -> None:
    guessed = with_model(
        photo,
        said("hair", "long_hair", 0.5),
        said("hair", "short_hair", 0.7, "vlm"),
        said("accessories", "hat", 0.4),
        said("accessories", "tie", 0.6, "vlm"),
        said("accessories", "tie", 0.3),
    )
    found = [(s.question, s.value) for s in suggest(guessed, []) if s.question != "focal_length"]
    assert found == [("hair", "short_hair"), ("accessories", "tie"), ("accessories", "hat")]


def test_what_the_form_does_not_ask_is_not_suggested(photo: Photo) -> None:
    guessed = with_model(
        photo, said("aesthetic", "good_photo"), said("hair", "blue"), said("caption", "a woman")
    )
    assert [s.question for s in suggest(guessed, [])] == ["focal_length"]


def test_a_drafted_caption_goes_before_one_made_of_tags(photo: Photo) -> None:
    assert caption_draft(photo, [said("hair", "long_hair"), said("gaze", "looking_up")]) == (
        "long hair, looking up"
    )
    drafted = with_model(photo, said("caption", "a woman, soft light", origin="vlm"))
    assert caption_draft(drafted, []) == "a woman, soft light"


def test_a_guess_becomes_a_prediction_with_its_score_and_origin(
    photo: Photo, faces: list[Face]
) -> None:
    guessed = with_model(photo, said("hair", "long_hair"), said("accessories", "hat", 0.4))
    (task,) = triage_tasks([guessed], {}, {photo.photo_id: faces})
    (prediction,) = task_json(task, TRIAGE, image="/p", photo=guessed, faces=faces)["predictions"]
    hair = next(r for r in prediction["result"] if r["from_name"] == "hair")
    assert hair["value"] == {"choices": ["long_hair"]}
    assert (hair["score"], hair["meta"]) == (0.6, {"origin": [CLIP]})
    assert prediction["model_version"] == MODEL_VERSION
    assert prediction["score"] == pytest.approx(1 - (task.uncertainty or 0))
    assert prediction["score"] == pytest.approx((0.97 + 0.6 + 0.4) / 3, abs=1e-3)


def test_the_most_unsure_photo_is_asked_first(photo: Photo, faces: list[Face]) -> None:
    sure = with_model(replace(photo, photo_id="sure"), said("hair", "long_hair", 0.95))
    unsure = with_model(replace(photo, photo_id="unsure"), said("hair", "long_hair", 0.4))
    faceless = replace(photo, photo_id="faceless")
    known = {"sure": faces, "unsure": faces}
    asked = list(triage_tasks([sure, unsure, faceless], {}, known))
    assert [t.photo_id for t in asked] == ["faceless", "unsure", "sure"]
    assert asked[0].uncertainty == 1.0
    assert uncertainty(sure, faces) == pytest.approx(1 - (0.97 + 0.95) / 2)


def test_a_photo_to_retouch_is_asked_about_once_in_each_round(photo: Photo) -> None:
    agreed = Consensus(photo_id=photo.photo_id, decision="retouch", voters=1, conflict=False)
    other = replace(agreed, photo_id="gone")
    accepted = replace(agreed, decision="accept")
    known = {photo.photo_id: photo}
    (task,) = retouch_tasks([agreed, other, replace(accepted, photo_id="x")], known, {})
    assert (task.kind, task.round, task.image_width) == ("retouch", 1, 680)
    asked: dict[str, Task] = {task.task_key: task}
    assert list(retouch_tasks([agreed], known, asked)) == []
    assert list(retouch_tasks([accepted], known, {})) == []
    (again,) = retouch_tasks([agreed], known, asked, rounds={photo.photo_id: 2})
    assert (again.task_key, again.round) == (f"{photo.photo_id}:retouch:2", 2)


@pytest.mark.parametrize("kind", FORMS)
def test_every_task_carries_what_its_form_shows(photo: Photo, faces: list[Face], kind: str) -> None:
    task = Task(
        task_key=f"{photo.photo_id}:{kind}:1",
        photo_id=photo.photo_id,
        kind=kind,
        state="waiting",
        image_path="reviews/x.png",
        image_width=10,
        image_height=10,
    )
    made: dict[str, Any] = task_json(
        task, FORMS[kind], image="/m?d=reviews/x.png", photo=photo, faces=faces
    )
    assert set(made["data"]) == set(DATA_KEYS)  # what the lint lets a form show
    assert lint(FORMS[kind]) == []
    assert made["data"]["proxy"] == f"/m?d={photo.proxy_path}"
    assert bool(made["predictions"]) == (kind == "triage")
