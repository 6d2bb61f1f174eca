"""One decoded photo to its proxy, hashes, faces, crops and verdicts. A pure function of pixels.

What is to be written goes to `write`, which names it by its content.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation import crops, gates
from curation.colour import pyramid, shrink, to_deep_srgb, to_eight_bits, to_srgb
from curation.config import IngestConfig
from curation.decode import DecodedPhoto, Pixels
from curation.duplicates import descriptor, pack, perceptual_hash, pixel_hash
from curation.faces import FoundFace, NamedFinder, estimate_pose
from curation.lossless import encode_jpeg, encode_lossless
from data_manifests.records import Box, Crop, Face, Photo, Point, Verdict

__all__ = ["Judged", "WriteMedia", "judge"]

PROXY_QUALITY, THUMB_QUALITY = 92, 80  # JPEG; for people and Label Studio, never for training
THUMB_SIDE = 320
_LEAST_LEVEL = 512  # px long side of the smallest pyramid level
_NATIVE_SIDE, _LOOK_SIDE = 2048, 512  # px of the face that the gates see, at native scale and not
_BOX_SHARE = 0.6  # a finder's box over the aligned square, so that both are judged at one scale

WriteMedia = Callable[[str, bytes, str], tuple[str, str]]  # kind, data, suffix -> path, SHA-256


@dataclass(frozen=True, slots=True)
class Judged:
    """What was made of one photo's pixels. `verdicts` are the photo's and its main face's."""

    perceptual_hash: str
    pixel_hash: str | None
    descriptor: str
    proxy_path: str
    proxy_width: int
    proxy_height: int
    thumb_path: str
    faces: tuple[Face, ...]
    verdicts: tuple[Verdict, ...]

    def on(self, photo: Photo) -> Photo:
        """The photo with what was judged filled in."""
        return replace(
            photo,
            perceptual_hash=self.perceptual_hash,
            pixel_hash=self.pixel_hash,
            descriptor=self.descriptor,
            proxy_path=self.proxy_path,
            proxy_width=self.proxy_width,
            proxy_height=self.proxy_height,
            thumb_path=self.thumb_path,
        )


@dataclass(frozen=True, slots=True)
class _Frame:
    """A photo ready to be cut: its halvings, its profile, its name and what is wanted."""

    photo_id: str
    levels: Sequence[Pixels]
    icc: bytes | None
    config: IngestConfig
    write: WriteMedia
    native: bool  # False: pixels of half the size, as of a RAW that is only looked at

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole photo."""
        height, width = self.levels[0].shape[:2]
        return width, height


def judge(
    photo_id: str,
    photo: DecodedPhoto,
    *,
    finder: NamedFinder,
    config: IngestConfig,
    write: WriteMedia,
) -> Judged:
    """Find the faces, judge them, and cut them if the photo passes.

    Pixels smaller than the facts say (a RAW at half size) are judged as far as that allows, and
    nothing is cut from them; boxes and landmarks are in pixels of the full photo either way.
    """
    whole: Any = np.ascontiguousarray(photo.pixels_HWC)
    levels = pyramid(whole, _LEAST_LEVEL)
    part = photo.facts.width / levels[0].shape[1]
    frame = _Frame(photo_id, levels, photo.facts.icc, config, write, native=part == 1)
    proxy_HWC = to_srgb(_reduce(levels, config.proxy_long_side), frame.icc)
    scale = frame.size[0] / proxy_HWC.shape[1]
    found = [_scaled(f, scale) for f in finder(proxy_HWC)]
    faces = [_judged_face(frame, f, index=i, finder=finder.name) for i, f in enumerate(found)]
    verdicts = (
        gates.judge_face_count(len(faces), finder.name),
        gates.judge_faces_beside([f.box.width for f in faces], config.gates),
        *(faces[0].verdicts if faces else ()),
    )
    if frame.native and all(v.keep for v in verdicts):
        faces = [_cut_face(frame, f) for f in faces]
    proxy_path, _ = write("proxies", encode_jpeg(proxy_HWC, PROXY_QUALITY), ".jpg")
    small_HWC = np.asarray(pyramid(proxy_HWC, THUMB_SIDE)[-1], dtype=np.uint8)
    thumb_HWC = np.asarray(shrink(small_HWC, THUMB_SIDE), dtype=np.uint8)
    thumb_path, _ = write("thumbs", encode_jpeg(thumb_HWC, THUMB_QUALITY), ".jpg")
    return Judged(
        perceptual_hash=perceptual_hash(small_HWC),
        pixel_hash=pixel_hash(levels[0]) if frame.native else None,
        descriptor=pack(descriptor(small_HWC)),
        proxy_path=proxy_path,
        proxy_width=proxy_HWC.shape[1],
        proxy_height=proxy_HWC.shape[0],
        thumb_path=thumb_path,
        faces=tuple(f if part == 1 else _enlarged(f, photo_id, part) for f in faces),
        verdicts=verdicts,
    )


def _judged_face(frame: _Frame, found: FoundFace, *, index: int, finder: str) -> Face:
    face = Face(
        face_id=_face_id(frame.photo_id, found.box),
        photo_id=frame.photo_id,
        index=index,
        box=found.box,
        landmarks=found.landmarks,
        score=round(found.score, 4),
        finder=finder,
    )
    if found.landmarks:
        part = 1.0 if frame.native else 2.0  # px of the original per px here
        eyes = math.dist(*[(p.x, p.y) for p in face.landmarks[:2]]) * part
        face = replace(
            face,
            landmark_source="finder",
            eye_distance=eyes,
            pose=estimate_pose(face.landmarks),
        )
    look = _look(frame, face)
    return (
        face if look is None else replace(face, verdicts=gates.judge_face(look, frame.config.gates))
    )


def _look(frame: _Frame, face: Face) -> gates.FaceLook | None:
    """The face as the gates see it; none if there is too little of it."""
    centre = _centre_of(face.box, _NATIVE_SIDE)
    native_HWC, left, top = _cut(frame.levels[0], centre)
    if min(native_HWC.shape[:2]) < 8:
        return None
    aligned_HWC = _aligned_look(frame, face)
    if aligned_HWC is None:
        area_HWC, _, _ = _cut(frame.levels[0], face.box)
        side = round(_LOOK_SIDE * _BOX_SHARE)
        shown_HWC = to_srgb(shrink(area_HWC, side), frame.icc)
    else:
        shown_HWC = aligned_HWC
    return gates.FaceLook(
        aligned_HWC=shown_HWC,
        aligned=aligned_HWC is not None,
        native_HWC=to_eight_bits(native_HWC),
        landmarks=tuple(Point(x=p.x - left, y=p.y - top) for p in face.landmarks),
        eye_distance=face.eye_distance,
        pose=face.pose,
        score=face.score,
        native=frame.native,
    )


def _aligned_look(frame: _Frame, face: Face) -> NDArray[np.uint8] | None:
    native = _native_side(face)
    size = min(round(native), _LOOK_SIDE)
    if size < 16:
        return None
    matrix_23 = crops.align_matrix(face.landmarks, size)
    return to_srgb(crops.warp(frame.levels, matrix_23, size), frame.icc)


def _native_side(face: Face) -> float:
    """How many pixels the side of the aligned face spans; 0 without usable landmarks."""
    if not face.landmarks:
        return 0.0
    try:
        return crops.native_side(crops.align_matrix(face.landmarks, 512), 512)
    except ValueError:  # landmarks on one spot
        return 0.0


def _cut_face(frame: _Frame, face: Face) -> Face:
    """The face with its aligned crops, part boxes and tiles."""
    native, wanted = round(_native_side(face)), frame.config.crops
    size = min(native, wanted.size)
    if size < frame.config.faces.least_crop:
        return face
    sizes = [("aligned", size)]
    if wanted.small and size > 512:
        sizes.append(("aligned_512", 512))
    if wanted.native and native > size:
        sizes.append(("aligned_native", native))
    made = [_aligned_crop(frame, face, kind, side) for kind, side in sizes]
    tiles = _tiles(frame, face) if wanted.tiles and native > wanted.size else []
    parts = crops.part_boxes(face.landmarks, crops.align_matrix(face.landmarks, size), size)
    return replace(
        face,
        crops=(*made, *tiles),
        left_eye_box=parts.left_eye,
        right_eye_box=parts.right_eye,
        nose_box=parts.nose,
        mouth_box=parts.mouth,
    )


def _aligned_crop(frame: _Frame, face: Face, kind: str, size: int) -> Crop:
    matrix_23 = crops.align_matrix(face.landmarks, size)
    return _write_crop(frame, crops.warp(frame.levels, matrix_23, size), kind, matrix_23)


def _tiles(frame: _Frame, face: Face) -> list[Crop]:
    """Native tiles over the head, for what the reduced crop no longer shows: skin, lashes, hair."""
    made = []
    head = crops.head_box(face.landmarks, *frame.size)
    for tile in crops.tile_boxes(head, *frame.size, frame.config.crops.tile_size):
        covers = crops.covers(face.landmarks, tile)
        if not covers:
            continue  # nothing but background
        shift_23 = np.array([[1.0, 0.0, -tile.left], [0.0, 1.0, -tile.top]])
        pixels_HWC, _, _ = _cut(frame.levels[0], tile)
        made.append(replace(_write_crop(frame, pixels_HWC, "tile", shift_23), covers=covers))
    return made


def _write_crop(
    frame: _Frame, pixels_HWC: Pixels, kind: str, matrix_23: NDArray[np.float64]
) -> Crop:
    deep = pixels_HWC.dtype == np.uint16 and frame.config.crops.deep
    srgb_HWC: Pixels = (
        to_deep_srgb(pixels_HWC, frame.icc) if deep else to_srgb(pixels_HWC, frame.icc)
    )
    data, suffix = encode_lossless(srgb_HWC, frame.config.crops.codec)
    path, sha256 = frame.write("tiles" if kind == "tile" else "crops", data, suffix)
    height, width = srgb_HWC.shape[:2]
    return Crop(
        path=path,
        sha256=sha256,
        kind=kind,
        width=width,
        height=height,
        matrix=tuple(float(v) for v in matrix_23.ravel()),
        bit_depth=16 if deep else 8,
    )


def _reduce(levels: Sequence[Pixels], long_side: int) -> Pixels:
    """The photo at `long_side` px, from the smallest level that is no smaller."""
    large = [level for level in levels if max(level.shape[:2]) >= long_side]
    return shrink(large[-1] if large else levels[0], long_side)


def _centre_of(box: Box, side: float) -> Box:
    """The box, or its middle `side` px where it is larger."""
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    half_x, half_y = min(box.width, side) / 2, min(box.height, side) / 2
    return Box(left=x - half_x, top=y - half_y, right=x + half_x, bottom=y + half_y)


def _cut(pixels_HWC: Pixels, box: Box) -> tuple[Pixels, int, int]:
    """(pixels of the box, their left edge, their top edge); what lies outside is left out."""
    top, bottom = max(round(box.top), 0), max(round(box.bottom), 0)
    left, right = max(round(box.left), 0), max(round(box.right), 0)
    cut: Any = np.ascontiguousarray(pixels_HWC[top:bottom, left:right])
    return cut, left, top


def _scaled(face: FoundFace, scale: float) -> FoundFace:
    """The face in photo pixels, found in a picture that is `scale` times smaller."""
    return replace(
        face,
        box=_times(face.box, scale),
        landmarks=tuple(Point(x=p.x * scale, y=p.y * scale) for p in face.landmarks),
    )


def _enlarged(face: Face, photo_id: str, part: float) -> Face:
    box = _times(face.box, part)
    points = tuple(Point(x=p.x * part, y=p.y * part) for p in face.landmarks)
    return replace(face, face_id=_face_id(photo_id, box), box=box, landmarks=points)


def _times(box: Box, scale: float) -> Box:
    return Box(
        left=box.left * scale,
        top=box.top * scale,
        right=box.right * scale,
        bottom=box.bottom * scale,
    )


def _face_id(photo_id: str, box: Box) -> str:
    key = ",".join(f"{v:.1f}" for v in (box.left, box.top, box.right, box.bottom))
    return f"{photo_id}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
