"""From rows to Label Studio tasks: the picture, our keys, and one prediction (boxes, points, tags).

A suggested tag comes from a measured fact of the row, never from a guess; people confirm it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from annotation.questions import TRIAGE, Form
from data_manifests.records import LANDMARK_NAMES, Face, Photo, Task

__all__ = ["Suggestion", "suggest", "task_json", "task_key", "triage_tasks"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A tag that a measured fact speaks for, and how sure the measurement is."""

    question: str
    value: str
    score: float


def task_key(photo_id: str, kind: str, round_: int = 1) -> str:
    """Our own name of a question; the server's task id is only where it stands."""
    return f"{photo_id}:{kind}:{round_}"


def triage_tasks(photos: Iterable[Photo], asked: Mapping[str, Task]) -> Iterator[Task]:
    """A waiting Task for every kept photo that was never asked about."""
    for photo in photos:
        key = task_key(photo.photo_id, "triage")
        if photo.state == "kept" and photo.proxy_path and key not in asked:
            yield Task(
                task_key=key,
                photo_id=photo.photo_id,
                kind="triage",
                state="waiting",
                image_path=photo.proxy_path,
                image_width=photo.proxy_width,
                image_height=photo.proxy_height,
            )


def suggest(photo: Photo, faces: Sequence[Face]) -> tuple[Suggestion, ...]:
    """Tags that the capture facts and the main face speak for."""
    main = next((f for f in faces if f.index == 0), None)
    found = [_shot(photo, main, faces), _view(main), _focal_length(photo)]
    return tuple(s for s in found if s is not None)


def task_json(
    task: Task, form: Form, *, image: str, photo: Photo | None = None, faces: Sequence[Face] = ()
) -> dict[str, Any]:
    """The task as Label Studio imports it; `image` is the picture's address in the browser."""
    suggestions = suggest(photo, faces) if photo and form is TRIAGE else ()
    title = PurePath(photo.path).name if photo else task.photo_id[:12]
    data = {
        "image": image,
        "title": f"{title}: {task.note}" if task.note else title,
        "caption_draft": ", ".join(s.value.replace("_", " ") for s in suggestions),
        "task_key": task.task_key,
        "photo_id": task.photo_id,
        "schema": form.version,
        "picture_width": task.image_width,
        "picture_height": task.image_height,
    }
    prediction = _prediction(task, photo, faces, suggestions) if photo and form is TRIAGE else None
    return {"data": data, "predictions": [prediction] if prediction else []}


def _prediction(
    task: Task, photo: Photo, faces: Sequence[Face], suggestions: Sequence[Suggestion]
) -> dict[str, Any] | None:
    result = [*_face_regions(task, photo, faces), *(_tag(s) for s in suggestions)]
    if not result:
        return None
    scores = [f.score for f in faces if f.score is not None]
    finder = faces[0].finder if faces else "no-face"
    version = f"{finder}+{TRIAGE.version}"
    return {"model_version": version, "score": min(scores, default=0.0), "result": result}


def _face_regions(task: Task, photo: Photo, faces: Sequence[Face]) -> Iterator[dict[str, Any]]:
    size = {
        "original_width": task.image_width,
        "original_height": task.image_height,
        "image_rotation": 0,
    }
    for face in sorted(faces, key=lambda f: f.index):
        box = face.box
        left, top = _percent(box.left, photo.width), _percent(box.top, photo.height)
        right, bottom = _percent(box.right, photo.width), _percent(box.bottom, photo.height)
        label = "subject_face" if face.index == 0 else "other_face"
        where = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}
        yield _region("face_box", "rectanglelabels", where, label) | size | _sure(face)
        if face.index > 0:
            continue  # points belong to the main face: the editor has no owner for a point
        for name, point in zip(LANDMARK_NAMES, face.landmarks, strict=False):
            spot = {
                "x": _percent(point.x, photo.width),
                "y": _percent(point.y, photo.height),
                "width": 0.4,
            }
            yield _region("landmark", "keypointlabels", spot, name) | size | _sure(face)


def _region(control: str, kind: str, where: dict[str, float], label: str) -> dict[str, Any]:
    # An id of its own for each region: two with one id are shown as one.
    unique = hashlib.sha256(f"{control}:{label}:{sorted(where.items())}".encode()).hexdigest()[:10]
    value = {**where, kind: [label]}
    return {
        "id": unique,
        "from_name": control,
        "to_name": TRIAGE.picture,
        "type": kind,
        "value": value,
    }


def _tag(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "id": f"tag-{suggestion.question}",
        "from_name": suggestion.question,
        "to_name": TRIAGE.picture,
        "type": "choices",
        "value": {"choices": [suggestion.value]},
        "score": suggestion.score,
    }


def _sure(face: Face) -> dict[str, float]:
    return {} if face.score is None else {"score": face.score}


def _percent(pixels: float, whole: int) -> float:
    # Finders put boxes over the edge; the editor would draw them outside the picture.
    return min(max(100 * pixels / whole, 0.0), 100.0)


def _focal_length(photo: Photo) -> Suggestion | None:
    mm = photo.capture.focal_length_35mm if photo.capture else None
    if not mm:
        return None
    names = ((35, "wide_angle"), (70, "normal_lens"), (135, "short_telephoto"))
    return Suggestion(
        "focal_length", next((name for least, name in names if mm < least), "telephoto"), 1.0
    )


def _shot(photo: Photo, main: Face | None, faces: Sequence[Face]) -> Suggestion | None:
    if main is None or not photo.height:
        return None
    large = [f for f in faces if f.box.height > 0.5 * main.box.height]
    if len(large) > 2:
        return Suggestion("shot", "group", main.score or 0.5)
    share = main.box.height / photo.height
    names = ((0.13, "full_length"), (0.25, "half_length"), (0.5, "shoulders_up"))
    return Suggestion(
        "shot", next((name for most, name in names if share < most), "close_up"), main.score or 0.5
    )


def _view(main: Face | None) -> Suggestion | None:
    if main is None or main.pose is None:
        return None
    turn = abs(main.pose.yaw)
    value = (
        "frontal_view" if turn < 0.25 else "three_quarter_view" if turn < 0.75 else "profile_view"
    )
    return Suggestion("view", value, main.score or 0.5)
