"""One decoded photo to its proxy, hash, faces, crops and verdicts. Writes media, nothing else."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curation import crops, gates
from curation.colour import pyramid, shrink, to_srgb
from curation.config import IngestConfig
from curation.decode import DecodedPhoto, Pixels
from curation.duplicates import perceptual_hash
from curation.faces import FoundFace, NamedFinder, estimate_pose
from data_manifests.errors import StorageError
from data_manifests.media import write_media
from data_manifests.records import Box, Crop, Face, Point, Verdict

__all__ = ["Judged", "judge"]

PROXY_QUALITY = 91  # JPEG; Label Studio and people look at it, training never does
_LEAST_LEVEL = 512  # px long side of the smallest pyramid level

WriteMedia = Callable[[str, bytes, str], tuple[str, str]]  # kind, data, suffix -> path, SHA-256


@dataclass(frozen=True, slots=True)
class Judged:
    """What was made of one photo's pixels. `verdicts` are those of its main face."""

    perceptual_hash: str
    proxy_path: str
    proxy_width: int
    proxy_height: int
    faces: tuple[Face, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class _Frame:
    """A photo ready to be cut: its halvings, its profile, its name and what is wanted."""

    photo_id: str
    levels: Sequence[Pixels]
    icc: bytes | None
    config: IngestConfig
    write: WriteMedia

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole photo."""
        height, width = self.levels[0].shape[:2]
        return width, height


def judge(
    photo_id: str, photo: DecodedPhoto, *, finder: NamedFinder, config: IngestConfig, media: Path
) -> Judged:
    """Find and cut the faces, judge them, write proxy, crops and tiles under `media`."""

    def write(kind: str, data: bytes, suffix: str) -> tuple[str, str]:
        return write_media(media, kind, data, suffix)

    levels = pyramid(photo.pixels_HWC, _LEAST_LEVEL)
    frame = _Frame(photo_id, levels, photo.facts.icc, config, write)
    proxy_HWC = to_srgb(_reduce(levels, config.proxy_long_side), photo.facts.icc)
    proxy_path, _ = write("proxies", _jpeg(proxy_HWC), ".jpg")
    scale = frame.size[0] / proxy_HWC.shape[1]
    found = [_scaled(f, scale) for f in finder(proxy_HWC)]
    faces = tuple(_face(frame, f, index=i, finder=finder.name) for i, f in enumerate(found))
    count = gates.judge_face_count(len(faces), finder.name)
    return Judged(
        perceptual_hash=perceptual_hash(proxy_HWC),
        proxy_path=proxy_path,
        proxy_width=proxy_HWC.shape[1],
        proxy_height=proxy_HWC.shape[0],
        faces=faces,
        verdicts=(count, *(faces[0].verdicts if faces else ())),
    )


def _face(frame: _Frame, found: FoundFace, *, index: int, finder: str) -> Face:
    box_key = ",".join(
        f"{v:.1f}" for v in (found.box.left, found.box.top, found.box.right, found.box.bottom)
    )
    face = Face(
        face_id=f"{frame.photo_id}-{hashlib.sha256(box_key.encode()).hexdigest()[:12]}",
        photo_id=frame.photo_id,
        index=index,
        box=found.box,
        landmarks=found.landmarks,
        score=round(found.score, 4),
        finder=finder,
    )
    return _aligned(frame, face) if found.landmarks else _unaligned(frame, face)


def _aligned(frame: _Frame, face: Face) -> Face:
    """The face with its aligned crop, part boxes, tiles and verdicts."""
    gate = frame.config.gates
    eyes = math.dist(*[(p.x, p.y) for p in face.landmarks[:2]])
    face = replace(
        face,
        landmark_source="finder",
        eye_distance=eyes,
        pose=estimate_pose(face.landmarks),
        verdicts=(gates.judge_eye_distance(eyes, gate),),
    )
    try:
        native = crops.native_side(crops.align_matrix(face.landmarks, 512), 512)
        size = min(round(native), frame.config.crops.size)
        matrix_23 = crops.align_matrix(face.landmarks, size) if size > 0 else None
    except ValueError:  # landmarks on one spot: no crop, and the eye distance has said why
        return face
    if matrix_23 is None or size < frame.config.faces.least_crop:
        return face
    crop_HWC = to_srgb(crops.warp(frame.levels, matrix_23, size), frame.icc)
    parts = crops.part_boxes(face.landmarks, matrix_23, size)
    tiles = _tiles(frame, face.box) if native > frame.config.crops.size else ()
    return replace(
        face,
        crops=(_write_crop(frame, crop_HWC, "aligned", matrix_23), *tiles),
        left_eye_box=parts.left_eye,
        right_eye_box=parts.right_eye,
        nose_box=parts.nose,
        mouth_box=parts.mouth,
        verdicts=face.verdicts + _look_verdicts(frame, crop_HWC, aligned=True),
    )


def _unaligned(frame: _Frame, face: Face) -> Face:
    """The face of a finder without landmarks: judged by its box, neither aligned nor tiled."""
    area_HWC = _cut(frame.levels[0], face.box)
    if min(area_HWC.shape[:2]) < 32:
        return face
    return replace(
        face, verdicts=_look_verdicts(frame, to_srgb(area_HWC, frame.icc), aligned=False)
    )


def _look_verdicts(
    frame: _Frame, face_HWC: NDArray[np.uint8], *, aligned: bool
) -> tuple[Verdict, ...]:
    part_HWC = gates.face_part(face_HWC, aligned=aligned)
    gate = frame.config.gates
    return (gates.judge_sharpness(part_HWC, gate), *gates.judge_light(part_HWC, gate))


def _tiles(frame: _Frame, box: Box) -> tuple[Crop, ...]:
    """Native tiles over the face, for what the reduced crop no longer shows: skin, lashes, hair."""
    made = []
    for tile in crops.tile_boxes(box, *frame.size, frame.config.crops.tile_size):
        shift_23 = np.array([[1.0, 0.0, -tile.left], [0.0, 1.0, -tile.top]])
        tile_HWC = to_srgb(_cut(frame.levels[0], tile), frame.icc)
        made.append(_write_crop(frame, tile_HWC, "tile", shift_23))
    return tuple(made)


def _write_crop(
    frame: _Frame, pixels_HWC: NDArray[np.uint8], kind: str, matrix_23: NDArray[np.float64]
) -> Crop:
    path, sha256 = frame.write("crops" if kind == "aligned" else "tiles", _png(pixels_HWC), ".png")
    height, width = pixels_HWC.shape[:2]
    numbers = tuple(float(v) for v in matrix_23.ravel())
    return Crop(path=path, sha256=sha256, kind=kind, width=width, height=height, matrix=numbers)


def _reduce(levels: Sequence[Pixels], long_side: int) -> Pixels:
    """The photo at `long_side` px, from the smallest level that is no smaller."""
    large = [level for level in levels if max(level.shape[:2]) >= long_side]
    return shrink(large[-1] if large else levels[0], long_side)


def _cut(pixels_HWC: Pixels, box: Box) -> Pixels:
    top, bottom = max(round(box.top), 0), max(round(box.bottom), 0)
    left, right = max(round(box.left), 0), max(round(box.right), 0)
    cut: Any = np.ascontiguousarray(pixels_HWC[top:bottom, left:right])
    return cut  # type: ignore[no-any-return]


def _scaled(face: FoundFace, scale: float) -> FoundFace:
    """The face in photo pixels, found in a picture that is `scale` times smaller."""
    box = face.box
    return replace(
        face,
        box=Box(
            left=box.left * scale,
            top=box.top * scale,
            right=box.right * scale,
            bottom=box.bottom * scale,
        ),
        landmarks=tuple(Point(x=p.x * scale, y=p.y * scale) for p in face.landmarks),
    )


def _jpeg(pixels_HWC: NDArray[np.uint8]) -> bytes:
    return _encoded(".jpg", pixels_HWC, [cv2.IMWRITE_JPEG_QUALITY, PROXY_QUALITY])


def _png(pixels_HWC: NDArray[np.uint8]) -> bytes:
    # Level 1 takes a fifth of the time of level 6 and a twentieth more room on photographs.
    return _encoded(".png", pixels_HWC, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def _encoded(suffix: str, pixels_HWC: NDArray[np.uint8], options: list[int]) -> bytes:
    done, data = cv2.imencode(suffix, np.ascontiguousarray(pixels_HWC[..., ::-1]), options)
    if not done:
        raise StorageError(f"A {suffix} picture could not be encoded.", "Check the free memory.")
    encoded: Any = data.tobytes()
    return bytes(encoded)
