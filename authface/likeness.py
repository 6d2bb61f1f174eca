"""Is the face in a returned picture still the same person's? Only where the settings and the
photo's consent allow it; vectors are compared and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from data_manifests.errors import ConfigError

if TYPE_CHECKING:
    from annotation.retouch_checks import Likeness
    from annotation.retouch_pixels import Pixels
    from curation.config import IdentityConfig
    from curation.identity import FaceEmbedder
    from data_manifests.records import Photo, Point
    from data_manifests.store import Store

__all__ = ["open_likeness"]

_OFF = "[ingest.identity] is off"


def open_likeness(
    store: Store, config: IdentityConfig, embed: FaceEmbedder | None = None
) -> Callable[[Photo], Likeness]:
    """Gives what may compare a photo's face with a returned one: it answers with the cosine of
    their vectors, or with why they were not made.

    The consent is read anew for each photo, so that one withdrawn meanwhile counts. `embed` is
    SFace unless given.
    """
    opened: list[FaceEmbedder] = [embed] if embed is not None else []

    def of(photo: Photo) -> Likeness:
        def likeness(before: Pixels, after: Pixels, landmarks: Sequence[Point]) -> float | str:
            why = _against(store, config, photo)
            if why or not landmarks:
                return why or "no landmarks of its face are known"
            try:
                if not opened:
                    opened.append(_sface())
                return _compared(opened[0], (before, after), landmarks)
            except ConfigError as error:
                return str(error)

        return likeness

    return of


def _against(store: Store, config: IdentityConfig, photo: Photo) -> str:
    """Why the photo's face may not be embedded, empty if it may."""
    from curation.identity import PURPOSE
    from data_manifests.consent import refusal
    from data_manifests.ledger import read_view

    if not config.enabled:
        return _OFF
    why = refusal(read_view(store).get(photo.consent_id or ""), PURPOSE, datetime.now(UTC))
    return f"its consent does not cover {PURPOSE} ({why})" if why else ""


def _sface() -> FaceEmbedder:
    from curation.identity import open_face_embedder

    return open_face_embedder()


def _compared(
    embed: FaceEmbedder, pictures: tuple[Pixels, Pixels], landmarks: Sequence[Point]
) -> float | str:
    from curation.identity import cut_face

    points_52 = np.array([(p.x, p.y) for p in landmarks])
    faces = [cut for p in pictures if (cut := cut_face(p, points_52)) is not None]
    if len(faces) < 2:
        return "its landmarks do not lie as those of a face do"
    one, other = embed(faces)
    return float(one @ other)
