"""What is suggested to people before they answer: tags, a caption's draft, and how unsure they are.

A measured fact of the row goes before a model's guess; each suggestion says where it comes from.
Nothing here counts until a person confirms it.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from annotation.form import Form, named
from annotation.questions import TRIAGE
from data_manifests.records import Face, Photo, Suggestion

__all__ = ["CAPTION", "caption_draft", "measured", "suggest", "uncertainty"]

CAPTION = "caption"  # the question of a Suggestion that is a drafted caption


def suggest(photo: Photo, faces: Sequence[Face], form: Form = TRIAGE) -> tuple[Suggestion, ...]:
    """Tags of the form for one photo, in the form's order.

    Of a question with one answer only one: the measured, else the likeliest that a model proposed.
    What the form does not ask, or has no value for, is left out.
    """
    facts = {s.question: [s] for s in measured(photo, faces)}
    found: list[Suggestion] = []
    for question in form.questions:
        if question.column not in ("semantic", "photographic"):
            continue
        values = {c.value for c in question.choices}
        proposed = [
            s
            for s in facts.get(question.name, photo.suggestions)
            if s.question == question.name and s.value in values
        ]
        best = sorted(proposed, key=lambda s: (-s.score, s.origin, s.value))
        found += _each_once(best) if question.kind == "many" else best[:1]
    return tuple(found)


def measured(photo: Photo, faces: Sequence[Face]) -> tuple[Suggestion, ...]:
    """Tags that the capture facts and the main face speak for."""
    main = next((f for f in faces if f.index == 0), None)
    found = [_shot(photo, main, faces), _view(main), _focal_length(photo)]
    return tuple(s for s in found if s is not None)


def caption_draft(photo: Photo, tags: Iterable[Suggestion]) -> str:
    """The caption that a model drafted, the newest first in the row; else the tags in words."""
    drafted = [s.value for s in photo.suggestions if s.question == CAPTION]
    return drafted[-1] if drafted else ", ".join(s.value.replace("_", " ") for s in tags)


def uncertainty(photo: Photo, faces: Sequence[Face], form: Form = TRIAGE) -> float:
    """0 sure to 1 unsure: one less the mean of the face finder's score and the models' scores.

    Without a face nobody knows what the photo is for: its face counts as 0. Measured facts and
    captions say nothing about how hard a photo is, so they don't count.
    """
    main = next((f for f in faces if f.index == 0), None)
    face = 0.0 if main is None else 0.5 if main.score is None else main.score
    asked = named(form)
    tags = {s.question: 0.0 for s in photo.suggestions if s.question in asked}
    for said in photo.suggestions:
        if said.question in tags and said.question != CAPTION:
            tags[said.question] = max(tags[said.question], said.score)
    tags.pop(CAPTION, None)
    sure = statistics.fmean([face, *tags.values()])
    return round(min(max(1 - sure, 0.0), 1.0), 4)


def _each_once(best: Sequence[Suggestion]) -> Iterator[Suggestion]:
    seen: set[str] = set()
    for one in best:
        if one.value not in seen:
            seen.add(one.value)
            yield one


def _focal_length(photo: Photo) -> Suggestion | None:
    mm = photo.capture.focal_length_35mm if photo.capture else None
    if not mm:
        return None
    names = ((35, "wide_angle"), (70, "normal_lens"), (135, "short_telephoto"))
    value = next((name for least, name in names if mm < least), "telephoto")
    return Suggestion(question="focal_length", value=value, score=1.0, origin="exif")


def _shot(photo: Photo, main: Face | None, faces: Sequence[Face]) -> Suggestion | None:
    if main is None or not photo.height:
        return None
    large = [f for f in faces if f.box.height > 0.5 * main.box.height]
    share = main.box.height / photo.height
    names = ((0.13, "full_length"), (0.25, "half_length"), (0.5, "shoulders_up"))
    value = next((name for most, name in names if share < most), "close_up")
    return _of_face("shot", "group" if len(large) > 2 else value, main)


def _view(main: Face | None) -> Suggestion | None:
    if main is None or main.pose is None:
        return None
    turn = abs(main.pose.yaw)
    value = (
        "frontal_view" if turn < 0.25 else "three_quarter_view" if turn < 0.75 else "profile_view"
    )
    return _of_face("view", value, main)


def _of_face(question: str, value: str, main: Face) -> Suggestion:
    return Suggestion(
        question=question, value=value, score=main.score or 0.5, origin=f"face {main.finder}"
    )
