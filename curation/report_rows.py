"""Photo and Face rows to what one card of the report says: names, figures, groups, facts.

Every text that came with a file goes through `plain`, so that a name can neither break a line, nor
turn the writing direction, nor carry a lone surrogate into the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from data_manifests.records import Capture, Face, Photo, Rights, Verdict

__all__ = [
    "CATEGORIES",
    "FIGURES",
    "STATES",
    "View",
    "detail",
    "figure_label",
    "plain",
    "view_photos",
    "words",
]

STATES = {"kept": "kept", "set_aside": "set aside", "quarantined": "quarantined"}

# Figure -> label and unit, in the order in which the page shows them. A gate that is not named here
# is shown after them, under its own name.
FIGURES = {
    "megapixels": ("megapixels", "MP"),
    "eye_distance": ("eye distance", "px"),
    "sharpness": ("sharpness", ""),
    "eye_sharpness": ("eye sharpness", ""),
    "effective_resolution": ("effective resolution", "dB"),
    "motion_blur": ("motion blur", ""),
    "noise": ("noise", "of 255"),
    "jpeg_quality": ("JPEG quality", ""),
    "focal_length": ("focal length", "mm"),
    "iso": ("ISO", ""),
    "aperture": ("aperture", "f/"),
    "shutter": ("exposure time", "s"),
    "long_side": ("long side", "px"),
    "faces": ("faces", ""),
    "rating": ("rating", "stars"),
    "size": ("file size", "MB"),
}
CATEGORIES = {
    "camera": "camera",
    "photographer": "photographer",
    "bit_depth": "bit depth",
    "colour_profile": "colour profile",
    "format": "format",
}
# Gates whose value is a count of faces or a flag: nothing to draw or to sort by.
_NO_FIGURES = frozenset(
    {"no_face", "several_faces", "rejected_by_photographer", "data_mining", "exact_duplicate"}
)


@dataclass(frozen=True, slots=True)
class View:
    """One photo as the page sorts and filters it."""

    photo: Photo
    faces: tuple[Face, ...]  # largest first
    name: str
    state: str
    figures: Mapping[str, float] = field(repr=False)
    categories: Mapping[str, str] = field(repr=False)


def view_photos(photos: Iterable[Photo], faces: Iterable[Face]) -> list[View]:
    """The views in the order of the paths. A state that is not known counts as quarantined."""
    of_photo: dict[str, list[Face]] = {}
    for face in faces:
        of_photo.setdefault(face.photo_id, []).append(face)
    return [
        _view(photo, sorted(of_photo.get(photo.photo_id, ()), key=lambda f: f.index))
        for photo in sorted(photos, key=lambda p: (p.path, p.photo_id))
    ]


def plain(text: str) -> str:
    """The text with everything that can't be seen written out, as in `\\u202e`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def words(code: str) -> str:
    """A code of the tables as words."""
    return plain(code).replace("_", " ")


def figure_label(key: str) -> tuple[str, str]:
    """Label and unit of a figure, also of a gate that the page knows nothing about."""
    return FIGURES.get(key, (words(key), ""))


def detail(view: View) -> dict[str, Any]:
    """What the page shows of one photo when it is opened, ready for JSON."""
    photo = view.photo
    return {
        "path": plain(photo.path),
        "why": [plain(v.reason) for v in photo.verdicts if not v.keep and v.reason],
        "verdicts": [_verdict(v) for v in photo.verdicts],
        "facts": [[label, plain(said)] for label, said in _facts(photo) if said],
        "faces": [_face(f) for f in view.faces],
        "suggested": [
            [words(s.question), words(s.value), round(s.score, 3)] for s in photo.suggestions
        ],
        "notes": [plain(n) for n in photo.notes],
    }


def _view(photo: Photo, faces: Sequence[Face]) -> View:
    return View(
        photo=photo,
        faces=tuple(faces),
        name=plain(PurePath(photo.path).name) or plain(photo.path) or photo.photo_id[:12],
        state=photo.state if photo.state in STATES else "quarantined",
        figures={
            k: float(v) for k, v in _figures(photo, faces) if v is not None and math.isfinite(v)
        },
        categories={k: plain(v) for k, v in _categories(photo) if v},
    )


def _figures(photo: Photo, faces: Sequence[Face]) -> Iterator[tuple[str, float | None]]:
    for verdict in photo.verdicts:
        if verdict.gate not in _NO_FIGURES:
            yield verdict.gate, verdict.value
    decoded = photo.width * photo.height > 0
    yield "megapixels", photo.width * photo.height / 1e6 if decoded else None
    yield "long_side", max(photo.width, photo.height) if decoded else None
    yield "eye_distance", faces[0].eye_distance if faces else None
    yield "faces", len(faces) if photo.proxy_path else None
    yield "rating", photo.xmp_rating
    yield "size", photo.size_bytes / 1e6
    if photo.capture is not None:
        yield "focal_length", photo.capture.focal_length_mm
        yield "iso", photo.capture.iso
        yield "aperture", photo.capture.aperture_f
        yield "shutter", photo.capture.shutter_s


def _categories(photo: Photo) -> Iterator[tuple[str, str | None]]:
    yield "camera", photo.capture.camera if photo.capture else None
    yield "photographer", photo.photographer or (photo.rights.creator if photo.rights else None)
    yield "bit_depth", f"{photo.bit_depth} bit" if photo.bit_depth else None
    yield "colour_profile", photo.colour_profile if photo.format else None
    yield "format", photo.format


def _facts(photo: Photo) -> Iterator[tuple[str, str]]:
    yield "size", f"{photo.width} x {photo.height} px" if photo.width else ""
    yield "file", " ".join(s for s in (photo.format, f"{photo.size_bytes / 1e6:.2f} MB") if s)
    yield "depth and profile", _depth(photo)
    yield "developed", photo.development or ""
    if photo.capture is not None:
        yield from _capture_facts(photo.capture)
    yield "rating", _rating(photo)
    yield "keywords", ", ".join(photo.keywords)
    yield "photographer", photo.photographer or ""
    yield "licence", photo.licence or ""
    yield "consent", photo.consent_id or "none"
    yield "person", photo.subject_id or ""
    if photo.rights is not None:
        yield from _rights_facts(photo.rights)
    yield "also at", ", ".join(photo.copies)
    yield "photo id", photo.photo_id


def _depth(photo: Photo) -> str:
    if not photo.bit_depth:
        return ""
    turned = f", turned (orientation {photo.orientation})" if photo.orientation > 1 else ""
    return f"{photo.bit_depth} bit, {photo.colour_profile}{turned}"


def _capture_facts(capture: Capture) -> Iterator[tuple[str, str]]:
    yield "camera", capture.camera or ""
    yield "lens", capture.lens or ""
    shutter = capture.shutter_s
    yield (
        "exposure",
        ", ".join(
            s
            for s in (
                f"{capture.focal_length_mm:g} mm" if capture.focal_length_mm else "",
                f"f/{capture.aperture_f:g}" if capture.aperture_f else "",
                (f"1/{1 / shutter:.0f} s" if shutter < 0.5 else f"{shutter:g} s")
                if shutter
                else "",
                f"ISO {capture.iso}" if capture.iso else "",
            )
            if s
        ),
    )
    yield "taken", f"{capture.taken_at:%Y-%m-%d %H:%M:%S}" if capture.taken_at else ""


def _rights_facts(rights: Rights) -> Iterator[tuple[str, str]]:
    yield "creator", rights.creator or ""
    yield "copyright", rights.copyright or ""
    yield "terms", rights.usage_terms or ""
    release = [r for r in (rights.model_release, *rights.model_release_ids) if r]
    yield "model release", ", ".join(release)
    yield "data mining", rights.data_mining or ""


def _rating(photo: Photo) -> str:
    stars = photo.xmp_rating
    said = "" if stars is None else "rejected" if stars < 0 else f"{stars} of 5 stars"
    flag = {1: "picked", -1: "flagged as rejected"}.get(photo.xmp_pick or 0, "")
    return ", ".join(s for s in (said, flag, photo.xmp_label or "") if s)


def _verdict(verdict: Verdict) -> list[Any]:
    # "no face: 1" reads as its opposite.
    gate = "faces" if verdict.gate == "no_face" else figure_label(verdict.gate)[0]
    return [
        gate,
        _finite(verdict.value),
        _finite(verdict.threshold),
        verdict.keep,
        plain(verdict.reason),
    ]


def _face(face: Face) -> dict[str, Any]:
    box = face.box
    return {
        "box": [round(v) for v in (box.left, box.top, box.right, box.bottom)],
        "points": [[round(p.x), round(p.y)] for p in face.landmarks],
        "said": ", ".join(s for s in _face_words(face) if s),
        # Those of the largest face stand among the photo's own.
        "verdicts": [_verdict(v) for v in face.verdicts] if face.index else [],
    }


def _face_words(face: Face) -> Iterator[str]:
    yield f"{face.box.width:.0f} x {face.box.height:.0f} px"
    yield f"eyes {face.eye_distance:.0f} px apart" if face.eye_distance else "no landmarks"
    if face.pose is not None:
        yield f"turned {face.pose.yaw:+.2f}, rolled {face.pose.roll:+.0f} degrees"
    yield f"score {face.score:.2f}" if face.score is not None else ""
    yield plain(face.finder)
    kinds = [f"{c.width} px" for c in face.crops if c.kind == "aligned"]
    yield f"crop {kinds[0]}" if kinds else "no crop"


def _finite(value: float | None) -> float | None:
    """JSON knows no infinity."""
    return value if value is not None and math.isfinite(value) else None
