"""Faces of one person, grouped: off unless asked for, and only where each consent allows it.

A face's vector is biometric data: it lives in memory while faces are grouped and is written
nowhere. What stays is a name that says nothing about the face. Reads crops under `media`, the
Photo, Face and Consent tables and the clock; writes Face.identity_group.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.config import IdentityConfig
from curation.crops import from_centres
from curation.people import group_identities
from curation.zeroshot import Vectors, unit
from data_manifests.consent import refusal
from data_manifests.errors import ConfigError
from data_manifests.ledger import read_view
from data_manifests.records import Consent, Crop, Face, Photo
from data_manifests.store import Store

__all__ = [
    "PURPOSE",
    "FaceEmbedder",
    "Identified",
    "allowed_faces",
    "clear_groups",
    "cut_face",
    "identify",
    "open_face_embedder",
]

FaceEmbedder = Callable[[Sequence[NDArray[np.uint8]]], Vectors]  # 112 px sRGB faces -> unit rows

PURPOSE = "identity_embedding"
SIDE = 112  # px of an aligned face
# Left eye, right eye, nose, left and right mouth corner, as seen in the picture. Source: ArcFace
# (Deng et al., CVPR 2019), as its authors' insightface publishes it; SFace was trained on it.
TEMPLATE_112 = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
_AT_ONCE = 64  # faces in memory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identified:
    """What grouping did; `refused` counts faces by the consent's reason."""

    faces: int
    groups: int
    changed: int
    cleared: int
    unreadable: int
    refused: Mapping[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """One line for people."""
        said = [f"{self.faces} faces in {self.groups} groups, {self.changed} rows changed"]
        if self.cleared:
            said.append(f"{self.cleared} taken out of their group")
        if self.unreadable:
            said.append(f"{self.unreadable} without a crop that can be read")
        said += [f"{n} not grouped ({why})" for why, n in sorted(self.refused.items())]
        return "; ".join(said)


def open_face_embedder(model: Path | None = None) -> FaceEmbedder:
    """SFace through OpenCV, from its file; loaded at the first call.

    Source: Zhong et al., SFace, IEEE TIP 2021; the model of OpenCV's zoo. Raises ConfigError where
    the file is missing.
    """
    found = model or _sface()
    if found is None or not found.is_file():
        raise ConfigError(
            "SFace's model file is not there, so faces can't be grouped by person.",
            "Get it with `authface models get sface`, or name its folder in AUTHFACE_MODELS.",
        )
    loaded: list[Any] = []

    def embed(faces: Sequence[NDArray[np.uint8]]) -> Vectors:
        if not loaded:
            loaded.append(_load(found))
        rows = [loaded[0].feature(np.ascontiguousarray(f[..., ::-1])).ravel() for f in faces]
        return unit(np.array(rows, dtype=np.float32))

    return embed


def identify(
    store: Store,
    *,
    media: Path,
    config: IdentityConfig,
    embed: FaceEmbedder | None = None,
    now: datetime | None = None,
) -> Identified:
    """Group the faces of the tables whose consent covers it now; clear the groups of all others.

    Groups that no consent covers are cleared first, also when the model is missing. Raises
    ConfigError if it is switched off or the model is not there.
    """
    if not config.enabled:
        raise ConfigError(
            "Grouping faces by person is off.",
            f"Set [ingest.identity] enabled = true; each photo's consent must cover {PURPOSE}.",
        )
    now = now or datetime.now(UTC)
    cleared = clear_groups(store, now)
    faces = sorted(store.read(Face), key=lambda f: f.face_id)
    allowed, refused = allowed_faces(
        faces, store.read(Photo), tuple(read_view(store).values()), now
    )
    read = list(_read_all(allowed, media, embed or open_face_embedder()))
    kept = [face for face, _ in read]
    vectors_BD = np.stack([v for _, v in read]) if read else np.zeros((0, 1), np.float32)
    groups = group_identities(kept, vectors_BD, least_likeness=config.least_likeness)
    changed = [
        replace(f, identity_group=groups.get(f.face_id))
        for f in allowed
        if f.identity_group != groups.get(f.face_id)
    ]
    if changed:
        store.upsert(Face, changed, why=f"identity groups of {len(kept)} faces")
    return Identified(
        faces=len(kept),
        groups=len(set(groups.values())),
        changed=len(changed),
        cleared=cleared,
        unreadable=len(allowed) - len(kept),
        refused=refused,
    )


def clear_groups(store: Store, now: datetime) -> int:
    """Take every face that no consent covers now out of its group; how many there were.

    Needs no model and asks no setting: to be called when a consent is withdrawn, too.
    """
    faces = store.read(Face)
    allowed, _ = allowed_faces(faces, store.read(Photo), tuple(read_view(store).values()), now)
    covered = {f.face_id for f in allowed}
    gone = [
        replace(f, identity_group=None)
        for f in faces
        if f.identity_group is not None and f.face_id not in covered
    ]
    if gone:
        store.upsert(Face, gone, why=f"no consent for {PURPOSE}")
    return len(gone)


def allowed_faces(
    faces: Sequence[Face], photos: Sequence[Photo], consents: Sequence[Consent], now: datetime
) -> tuple[list[Face], dict[str, int]]:
    """(faces whose photo's consent covers identity_embedding now, count of the others by reason).

    A face without a photo, or a photo without a consent, is refused.
    """
    consent_of = {p.photo_id: p.consent_id for p in photos}
    ledger = {c.consent_id: c for c in consents}
    allowed, refused = [], Counter[str]()
    for face in faces:
        why = refusal(ledger.get(consent_of.get(face.photo_id) or ""), PURPOSE, now)
        if why is None:
            allowed.append(face)
        else:
            refused[why] += 1
    return allowed, dict(refused)


def cut_face(
    pixels_HWC: NDArray[np.uint8], landmarks_52: NDArray[np.float64]
) -> NDArray[np.uint8] | None:
    """The 112 px face on ArcFace's template that the embedder takes, from sRGB pixels.

    `landmarks_52` are in those pixels and in the order of LANDMARK_NAMES; none where they allow no
    similarity transform.
    """
    found, _ = cv2.estimateAffinePartial2D(landmarks_52, TEMPLATE_112, method=cv2.LMEDS)
    if found is None or not np.isfinite(found).all():
        return None
    return _cut(pixels_HWC, np.asarray(found, np.float64))


def _read_all(
    faces: Sequence[Face], media: Path, embed: FaceEmbedder
) -> Iterator[tuple[Face, NDArray[np.float32]]]:
    """Each face with its vector; those without landmarks or a readable crop are left out."""
    for start in range(0, len(faces), _AT_ONCE):
        some = [
            (face, pixels)
            for face in faces[start : start + _AT_ONCE]
            if (pixels := _aligned_112(face, media)) is not None
        ]
        if some:
            vectors_BD = embed([pixels for _, pixels in some])
            yield from zip((face for face, _ in some), vectors_BD, strict=True)


def _aligned_112(face: Face, media: Path) -> NDArray[np.uint8] | None:
    """The face on ArcFace's template, sRGB, cut from its smaller aligned crop."""
    from curation.lossless import read_lossless

    crop = _small_crop(face)
    if crop is None or not face.landmarks:
        return None
    try:
        pixels_HWC = read_lossless(media / crop.path)
    except (OSError, ValueError) as error:
        log.warning("%s can't be read: %s", crop.path, error)
        return None
    if pixels_HWC.dtype == np.uint16:
        pixels_HWC = (pixels_HWC >> 8).astype(np.uint8)
    points = np.array([(p.x, p.y, 1.0) for p in face.landmarks])
    return cut_face(
        np.asarray(pixels_HWC, np.uint8), points @ np.array(crop.matrix).reshape(2, 3).T
    )


def _small_crop(face: Face) -> Crop | None:
    of_kind = {c.kind: c for c in face.crops}
    return of_kind.get("aligned_512") or of_kind.get("aligned")


def _cut(pixels_HWC: NDArray[np.uint8], matrix_23: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The 112 px face; reduced by area first, since a bilinear warp does not filter."""
    shrink = max(1, int(1 / max(float(np.sqrt(abs(np.linalg.det(matrix_23[:, :2])))), 1e-3)))
    if shrink > 1:
        height, width = pixels_HWC.shape[:2]
        side = (width // shrink, height // shrink)
        pixels_HWC = np.asarray(cv2.resize(pixels_HWC, side, interpolation=cv2.INTER_AREA))
        matrix_23 = matrix_23 * np.array([[width / side[0], height / side[1], 1.0]])
    cut = cv2.warpAffine(
        pixels_HWC,
        from_centres(matrix_23),
        (SIDE, SIDE),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(cut, dtype=np.uint8)


def _load(model: Path) -> Any:
    try:
        return cv2.FaceRecognizerSF.create(str(model), "")
    except cv2.error as error:
        raise ConfigError(
            f"OpenCV can't load {model} as SFace's model.",
            "Check it with `authface models verify`.",
        ) from error


def _sface() -> Path | None:
    from curation.models import find_model

    return find_model("sface")
