"""From rows to Label Studio tasks: the picture, our keys, one prediction of boxes, points, tags."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from annotation.form import Form
from annotation.questions import TRIAGE
from annotation.suggestions import caption_draft, suggest, uncertainty
from data_manifests.records import LANDMARK_NAMES, Consensus, Face, Photo, Suggestion, Task

__all__ = [
    "MODEL_VERSION",
    "Suggestion",
    "retouch_tasks",
    "suggest",
    "task_json",
    "task_key",
    "triage_tasks",
]

# One name for every prediction of a project: the server shows and orders only those of the
# project's own model version. Where each suggestion comes from stands in its `meta`.
MODEL_VERSION = "authface"

Rows = Mapping[str, Sequence[Face]]


def task_key(photo_id: str, kind: str, round_: int = 1) -> str:
    """Our own name of a question; the server's task id is only where it stands."""
    return f"{photo_id}:{kind}:{round_}"


def triage_tasks(
    photos: Iterable[Photo], asked: Mapping[str, Task], faces: Rows | None = None
) -> Iterator[Task]:
    """A waiting Task for every kept photo that was never asked about, the most unsure first.

    `faces` are the faces by photo; without them the photos come as they stand.
    """
    fresh = [
        _waiting(photo, key, "triage", None if faces is None else faces.get(photo.photo_id, ()))
        for photo in photos
        if photo.state == "kept"
        and photo.proxy_path
        and (key := task_key(photo.photo_id, "triage")) not in asked
    ]
    yield from sorted(fresh, key=_most_unsure_first)


def retouch_tasks(
    settled: Iterable[Consensus],
    photos: Mapping[str, Photo],
    asked: Mapping[str, Task],
    *,
    rounds: Mapping[str, int] | None = None,
    faces: Rows | None = None,
) -> Iterator[Task]:
    """A waiting Task for every photo that people agreed to retouch, once in each round.

    `rounds` is the retouch round that a photo is in, by photo; without one it is the first.
    The most unsure come first. A photo that is gone, or has no proxy to draw on, is passed over.
    """
    fresh = []
    for one in settled:
        photo, round_ = photos.get(one.photo_id), max((rounds or {}).get(one.photo_id, 1), 1)
        key = task_key(one.photo_id, "retouch", round_)
        if one.decision != "retouch" or key in asked or photo is None or not photo.proxy_path:
            continue
        known = None if faces is None else faces.get(photo.photo_id, ())
        fresh.append(_waiting(photo, key, "retouch", known, round_))
    yield from sorted(fresh, key=_most_unsure_first)


def task_json(
    task: Task, form: Form, *, image: str, photo: Photo | None = None, faces: Sequence[Face] = ()
) -> dict[str, Any]:
    """The task as Label Studio imports it; `image` is the picture's address in the browser."""
    triage = photo is not None and form.kind == "triage"
    suggestions = suggest(photo, faces, form) if photo and triage else ()
    # A photo that was not ingested is named by the note, if by anything.
    title = PurePath(photo.path).name if photo else "" if task.note else task.photo_id[:12]
    data = {
        "image": image,
        "proxy": _proxy_address(image, task, photo),
        "title": ": ".join(filter(None, (title, task.note))),
        "caption_draft": caption_draft(photo, suggestions) if photo and triage else "",
        "task_key": task.task_key,
        "photo_id": task.photo_id,
        "schema": form.version,
        "picture_width": task.image_width,
        "picture_height": task.image_height,
    }
    prediction = _prediction(task, photo, faces, suggestions) if photo and triage else None
    return {"data": data, "predictions": [prediction] if prediction else []}


def _waiting(
    photo: Photo, key: str, kind: str, faces: Sequence[Face] | None, round_: int = 1
) -> Task:
    return Task(
        task_key=key,
        photo_id=photo.photo_id,
        kind=kind,
        round=round_,
        state="waiting",
        image_path=photo.proxy_path or "",
        image_width=photo.proxy_width,
        image_height=photo.proxy_height,
        uncertainty=None if faces is None else uncertainty(photo, faces),
    )


def _most_unsure_first(task: Task) -> float:
    return -(task.uncertainty or 0.0)


def _proxy_address(image: str, task: Task, photo: Photo | None) -> str:
    """Where the browser finds the photo's proxy: as the picture's address, but for the path."""
    if photo is None or not photo.proxy_path:
        return image
    return image.replace(task.image_path, photo.proxy_path)


def _prediction(
    task: Task, photo: Photo, faces: Sequence[Face], suggestions: Sequence[Suggestion]
) -> dict[str, Any] | None:
    result = [*_face_regions(task, photo, faces), *_tags(suggestions)]
    if not result:
        return None
    unsure = uncertainty(photo, faces) if task.uncertainty is None else task.uncertainty
    # The server asks the lowest score first where a project samples by uncertainty.
    return {"model_version": MODEL_VERSION, "score": round(1 - unsure, 4), "result": result}


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


def _tags(suggestions: Sequence[Suggestion]) -> Iterator[dict[str, Any]]:
    """One entry a question, with all that is suggested for it and where that comes from."""
    for question in dict.fromkeys(s.question for s in suggestions):
        said = [s for s in suggestions if s.question == question]
        yield {
            "id": f"tag-{question}",
            "from_name": question,
            "to_name": TRIAGE.picture,
            "type": "choices",
            "value": {"choices": [s.value for s in said]},
            "score": min(s.score for s in said),
            "meta": {"origin": list(dict.fromkeys(s.origin for s in said))},
        }


def _sure(face: Face) -> dict[str, float]:
    return {} if face.score is None else {"score": face.score}


def _percent(pixels: float, whole: int) -> float:
    # Finders put boxes over the edge; the editor would draw them outside the picture.
    return min(max(100 * pixels / whole, 0.0), 100.0)
