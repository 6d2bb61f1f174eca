"""Whether a returned face is still the same person's, measured only where it may be.

The embedder is a stand-in: it describes a face by its colours, so it needs no model file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from annotation.retouch_checks import Pair, check
from annotation.retouch_config import RetouchConfig
from authface.likeness import open_likeness
from curation.config import IdentityConfig
from curation.zeroshot import Vectors, unit
from data_manifests.consent import grant, withdraw
from data_manifests.records import Box, Consent, Photo, Point, Verdict
from data_manifests.store import Store

ON = IdentityConfig(enabled=True)
SOURCE = data.astronaut()
FACE = Box(left=170, top=60, right=280, bottom=190)
LANDMARKS = tuple(
    Point(x=x, y=y) for x, y in ((201, 112), (246, 109), (230, 138), (206, 160), (247, 157))
)
PHOTO = Photo(photo_id="a" * 64, path="/o/a.jpg", state="kept", size_bytes=1, consent_id="release")


class ByColour:
    """The mean colours of a face's left and right half; counts what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[int, ...]] = []

    def __call__(self, faces: Sequence[NDArray[np.uint8]]) -> Vectors:
        self.shown += [f.shape for f in faces]
        halves = [(f[:, :56].mean((0, 1)), f[:, 56:].mean((0, 1))) for f in faces]
        return unit(np.array([np.concatenate(h) - 128 for h in halves], np.float32))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "tables")
    start = datetime.now(UTC) - timedelta(days=1)
    for name, purposes in (
        ("release", ("annotation", "identity_embedding")),
        ("narrow", ("annotation",)),
    ):
        grant(made, Consent(consent_id=name, purposes=purposes, basis="release", valid_from=start))
    return made


def other_face(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Half of the face turned into its negative: nobody's face any more."""
    out = pixels.copy()
    out[60:190, 170:225] = 255 - out[60:190, 170:225]
    return out


def identity(
    store: Store,
    after: NDArray[np.uint8],
    *,
    embed: ByColour,
    config: IdentityConfig = ON,
    photo: Photo = PHOTO,
    landmarks: tuple[Point, ...] = LANDMARKS,
) -> Verdict:
    likeness = open_likeness(store, config, embed)(photo)
    pair = Pair(SOURCE, after, FACE, landmarks=landmarks, likeness=likeness)
    return next(v for v in check(pair, RetouchConfig()).verdicts if v.gate == "identity")


def test_the_distance_of_the_faces_is_in_the_figures_and_a_stranger_goes_back(
    store: Store,
) -> None:
    embed = ByColour()
    same = identity(store, SOURCE.copy(), embed=embed)
    other = identity(store, other_face(SOURCE), embed=embed)
    assert (same.keep, same.reason) == (True, "")
    assert same.value == pytest.approx(0, abs=1e-4)
    assert same.threshold == RetouchConfig().most_identity_shift == 0.2
    assert not other.keep
    assert other.value is not None
    assert other.value > 0.2
    assert "somebody else" in other.reason
    assert set(embed.shown) == {(112, 112, 3)}


def test_both_faces_are_cut_at_the_same_place_of_a_cropped_picture(store: Store) -> None:
    cropped = np.ascontiguousarray(SOURCE[10:, 40:])
    assert identity(store, cropped, embed=ByColour()).value == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("[ingest.identity] is off", {"config": IdentityConfig()}),
        ("no_consent", {"photo": Photo(photo_id="b", path="b", state="kept", size_bytes=1)}),
        (
            "consent_other_purpose",
            {
                "photo": Photo(
                    photo_id="b", path="b", state="kept", size_bytes=1, consent_id="narrow"
                )
            },
        ),
        ("no landmarks", {"landmarks": ()}),
        ("do not lie as those of a face", {"landmarks": (Point(x=200, y=100),) * 5}),
    ],
)
def test_a_face_is_embedded_only_where_it_may_be_and_else_the_row_says_why(
    store: Store, why: str, change: dict[str, object]
) -> None:
    embed = ByColour()
    told = identity(store, other_face(SOURCE), embed=embed, **change)  # type: ignore[arg-type]
    assert (told.keep, told.value) == (True, None)
    assert told.reason.startswith("identity was not measured: ")
    assert why in told.reason
    assert embed.shown == []


def test_a_consent_withdrawn_between_two_files_counts_for_the_second(store: Store) -> None:
    embed = ByColour()
    likeness = open_likeness(store, ON, embed)
    assert isinstance(likeness(PHOTO)(SOURCE, SOURCE, LANDMARKS), float)
    withdraw(store, "release", datetime.now(UTC))
    told = likeness(PHOTO)(SOURCE, SOURCE, LANDMARKS)
    assert isinstance(told, str)
    assert "consent_withdrawn" in told
    assert len(embed.shown) == 2


def test_without_the_models_file_it_says_what_is_missing(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTHFACE_MODELS", str(tmp_path))
    told = open_likeness(store, ON)(PHOTO)(SOURCE, SOURCE, LANDMARKS)
    assert isinstance(told, str)
    assert "SFace's model file is not there" in told
    (tmp_path / "face_recognition_sface_2021dec.onnx").write_bytes(b"no model")
    broken = open_likeness(store, ON)(PHOTO)(SOURCE, SOURCE, LANDMARKS)
    assert isinstance(broken, str)
    assert "can't load" in broken


def test_no_vector_is_written(store: Store) -> None:
    before = {p: p.stat().st_mtime_ns for p in store.folder.parent.rglob("*")}
    identity(store, SOURCE.copy(), embed=ByColour())
    assert {p: p.stat().st_mtime_ns for p in store.folder.parent.rglob("*")} == before
