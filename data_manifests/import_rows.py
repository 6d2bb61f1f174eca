"""From an entry and its decoded picture to rows: Photo, Face and Annotations, in photo pixels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_manifests.errors import UnreadablePhoto
from data_manifests.import_files import Picture, bare_png
from data_manifests.import_shapes import Answer, Found, Mark
from data_manifests.media import media_name
from data_manifests.records import (
    LANDMARK_NAMES,
    Annotation,
    Box,
    Crop,
    Face,
    Photo,
    Point,
    Region,
)

__all__ = ["Origin", "Rows", "crop_obstacle", "rows_of"]

FACES = ("subject_face", "face", "head")  # labels of the box that is the face, in this order
LEAST_CROP = 512  # px, the smallest crop that training reads
SLACK = 1.0  # px that a box may stand out of its picture, by rounding
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where imported rows come from, and what covers them."""

    name: str
    consent_id: str
    licence: str | None = None
    accept: bool = False  # whoever imports says that what nobody has judged is accepted


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one entry; `obstacle` says why the picture is no crop by itself."""

    photo: Photo
    face: Face
    annotations: tuple[Annotation, ...]
    obstacle: str | None
    crop: bytes = field(default=b"", repr=False)  # its pixels alone, if it is a crop by itself


def rows_of(found: Found, picture: Picture, path: Path, origin: Origin) -> Rows:
    """The rows of one entry; raises UnreadablePhoto where its marks do not fit the picture."""
    if found.size is not None and found.size != (picture.width, picture.height):
        raise UnreadablePhoto(
            "size_differs", f"is {picture.width} x {picture.height}, not as its entry says"
        )
    regions = [_regions(answer, picture) for answer in found.answers]
    annotations = tuple(
        _annotation(answer, marked, picture.photo_id, origin)
        for answer, marked in zip(found.answers, regions, strict=True)
    )
    obstacle = crop_obstacle(picture)
    marked = next(
        (r for a, r in zip(annotations, regions, strict=True) if a.state == "counted" and r), ()
    )
    # A crop goes out in exports: the file itself would take its place and its maker along.
    crop = bare_png(picture) if obstacle is None else b""
    face = _face(picture, marked, crop)
    return Rows(_photo(picture, path, origin), face, annotations, obstacle, crop)


def crop_obstacle(picture: Picture) -> str | None:
    """Why the picture can't be a crop as it is: it is never resampled here."""
    if picture.width != picture.height:
        return "not square"
    if picture.width < LEAST_CROP:
        return f"smaller than {LEAST_CROP} px"
    if picture.orientation != 1:
        return "turned by its EXIF orientation"
    if picture.mode not in ("RGB", "RGBA") or picture.bit_depth != 8:
        return f"of mode {picture.mode} with {picture.bit_depth} bits, not RGB with 8"
    if picture.profile != "untagged" and "srgb" not in picture.profile.lower():
        return "not in sRGB"
    return None


def _photo(picture: Picture, path: Path, origin: Origin) -> Photo:
    return Photo(
        photo_id=picture.photo_id,
        path=str(path.absolute()),
        state="kept",
        format=picture.format,
        size_bytes=len(picture.data),
        width=picture.width,
        height=picture.height,
        bit_depth=picture.bit_depth,
        orientation=picture.orientation,
        colour_profile=picture.profile,
        licence=origin.licence,
        consent_id=origin.consent_id,
        modified_ns=picture.modified_ns,
        pixel_hash=picture.pixel_hash,
        notes=(f"imported from {origin.name}",),
    )


def _face(picture: Picture, regions: Sequence[Region], crop: bytes) -> Face:
    box = _face_box(regions) or Box(left=0, top=0, right=picture.width, bottom=picture.height)
    points = {r.label: r.point for r in regions if r.point is not None}
    landmarks = tuple(p for name in LANDMARK_NAMES if (p := points.get(name)) is not None)
    known = len(landmarks) == len(LANDMARK_NAMES)
    key = ",".join(f"{v:.1f}" for v in (box.left, box.top, box.right, box.bottom))
    return Face(
        face_id=f"{picture.photo_id}-{hashlib.sha256(key.encode()).hexdigest()[:12]}",
        photo_id=picture.photo_id,
        index=0,
        box=box,
        landmarks=landmarks if known else (),
        finder="import",
        landmark_source="person" if known else "none",
        eye_distance=_between(landmarks[0], landmarks[1]) if known else None,
        crops=(_crop(picture, crop),) if crop else (),
    )


def _crop(picture: Picture, data: bytes) -> Crop:
    path, sha256 = media_name("crops", data, ".png")
    return Crop(
        path=path,
        sha256=sha256,
        kind="aligned",
        width=picture.width,
        height=picture.height,
        matrix=IDENTITY,
        bit_depth=picture.bit_depth,
    )


def _face_box(regions: Sequence[Region]) -> Box | None:
    """The largest box labelled as the face, else the only box that there is."""
    boxes = [(r.label.lower(), r.box) for r in regions if r.box is not None]
    for label in FACES:
        labelled = [box for name, box in boxes if name == label]
        if labelled:
            return max(labelled, key=lambda b: (b.width * b.height, -b.left, -b.top))
    return boxes[0][1] if len(boxes) == 1 else None


def _annotation(
    answer: Answer, regions: tuple[Region, ...], photo_id: str, origin: Origin
) -> Annotation:
    # The id depends on who says it about what, so a second import replaces and never doubles.
    who = ":".join(filter(None, ("import", origin.name, answer.who)))
    assumed = "accept" if origin.accept and answer.state == "counted" else None
    return Annotation(
        annotation_id=f"{who}:{photo_id}",
        task_key=f"{photo_id}:import:1",
        photo_id=photo_id,
        annotator=who,
        state=answer.state,
        decision=answer.decision or assumed,
        reasons=answer.reasons,
        rating=answer.rating,
        semantic_tags=answer.semantic_tags,
        photographic_tags=answer.photographic_tags,
        caption=answer.caption,
        note=answer.note,
        regions=regions,
        raw=answer.raw,
        lead_time_s=answer.lead_time_s,
        cancelled=answer.state == "skipped",
        ground_truth=answer.ground_truth,
        created_at=answer.created_at,
        updated_at=answer.updated_at,
    )


def _regions(answer: Answer, picture: Picture) -> tuple[Region, ...]:
    return tuple(_region(mark, picture) for mark in answer.marks)


def _region(mark: Mark, picture: Picture) -> Region:
    x = picture.width / 100 if mark.percent else 1.0
    y = picture.height / 100 if mark.percent else 1.0
    left, top = _inside(mark.left * x, picture.width), _inside(mark.top * y, picture.height)
    if mark.right is None or mark.bottom is None:
        return Region(label=mark.label, point=Point(x=left, y=top), origin=mark.origin)
    right, bottom = _inside(mark.right * x, picture.width), _inside(mark.bottom * y, picture.height)
    if right <= left or bottom <= top:
        raise UnreadablePhoto("empty_box", f"has a box {mark.label!r} without area")
    box = Box(left=left, top=top, right=right, bottom=bottom)
    return Region(label=mark.label, box=box, origin=mark.origin)


def _inside(value: float, most: int) -> float:
    if not math.isfinite(value) or value < -SLACK or value > most + SLACK:
        raise UnreadablePhoto("box_outside_the_picture", f"has a mark at {value:g} px of {most}")
    return float(min(max(value, 0), most))


def _between(one: Point, other: Point) -> float:
    return math.dist((one.x, one.y), (other.x, other.y))
