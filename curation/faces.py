"""What a face finder is, and the three that can be had: YuNet by file, MTCNN, Haar.

A finder takes sRGB pixels of any size and gives boxes and landmarks in those pixels. It looks at
reduced copies, so a face that fills an 8K frame is found as well as a small one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import platformdirs
from numpy.typing import NDArray

from curation.colour import shrink
from curation.config import FacesConfig
from data_manifests.errors import ConfigError, MissingExtra
from data_manifests.records import Box, Point, Pose

__all__ = ["FaceFinder", "FoundFace", "NamedFinder", "estimate_pose", "find_yunet", "open_finder"]

YUNET_FILE = "face_detection_yunet_2023mar.onnx"
YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_YUNET_SIDES = (640, 1280)  # px; it was trained for faces of 10 to 300 px
_MTCNN_SIDE, _HAAR_SIDE = 1024, 1024
_SAME_FACE = 0.4  # intersection over union


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face in the pixels that were searched; landmarks in LANDMARK_NAMES order, or none."""

    box: Box
    landmarks: tuple[Point, ...]
    score: float


FaceFinder = Callable[[NDArray[np.uint8]], list[FoundFace]]  # sRGB pixels HWC in


@dataclass(slots=True)
class NamedFinder:
    """A finder with the name that Face rows carry; its model is loaded at the first call."""

    name: str
    has_landmarks: bool
    load: Callable[[], FaceFinder]
    config: FacesConfig
    _find: FaceFinder | None = field(default=None, repr=False)

    def __call__(self, pixels_HWC: NDArray[np.uint8]) -> list[FoundFace]:
        """The faces, largest first, one per person, above the least score and size."""
        if self._find is None:
            self._find = self.load()
        least_width = self.config.least_share * max(pixels_HWC.shape[:2])
        good = [
            f
            for f in self._find(pixels_HWC)
            if f.score >= self.config.least_score and f.box.width >= least_width
        ]
        return sorted(_merge(good), key=lambda f: -f.box.width * f.box.height)


def open_finder(config: FacesConfig) -> NamedFinder:
    """The finder that the settings name, or the best there is; raises InputError if missing."""
    makers = {"yunet": _yunet, "mtcnn": _mtcnn, "haar": _haar}
    if config.finder != "auto":
        return makers[config.finder](config)
    if find_yunet() is not None:
        return _yunet(config)
    if importlib.util.find_spec("facenet_pytorch") is not None:
        return _mtcnn(config)
    return _haar(config)


def find_yunet() -> Path | None:
    """YuNet's model file: in AUTHFACE_MODELS (a folder or the file), else in the user's cache."""
    named = os.environ.get("AUTHFACE_MODELS")
    places = [Path(named), Path(named) / YUNET_FILE] if named else []
    places.append(platformdirs.user_cache_path("authface") / "models" / YUNET_FILE)
    return next((p for p in places if p.is_file()), None)


def estimate_pose(landmarks: Sequence[Point]) -> Pose:
    """Where the head points, from five landmarks: coarse, for sorting and not for measuring."""
    points = np.array([(p.x, p.y) for p in landmarks])
    across = points[1] - points[0]
    roll = math.atan2(across[1], across[0])
    turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]])
    level = points @ turn.T
    eyes, nose, mouth = level[:2].mean(axis=0), level[2], level[3:].mean(axis=0)
    down = max(mouth[1] - eyes[1], 1e-6)
    size = max(math.hypot(*across), down, 1e-6)
    yaw = (nose[0] - (eyes[0] + mouth[0]) / 2) / (size / 2)
    pitch = ((nose[1] - eyes[1]) / down - 0.565) / 0.35  # 0.565: the frontal FFHQ template
    return Pose(
        roll=math.degrees(roll),
        yaw=float(np.clip(yaw, -1, 1)),
        pitch=float(np.clip(pitch, -1, 1)),
    )


def _yunet(config: FacesConfig) -> NamedFinder:
    path = find_yunet()
    if path is None:
        raise ConfigError(
            f"YuNet's model file {YUNET_FILE} is not there.",
            "Get it from OpenCV's model zoo and name its folder in AUTHFACE_MODELS, or set "
            '[ingest.faces] finder = "mtcnn".',
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != YUNET_SHA256:
        raise ConfigError(f"{path} is not the YuNet file that was published.", "Download it again.")
    return NamedFinder("yunet-2023mar", True, partial(_load_yunet, path, config), config)


def _load_yunet(path: Path, config: FacesConfig) -> FaceFinder:
    model = cv2.FaceDetectorYN.create(str(path), "", (320, 320), config.least_score, 0.3, 5000)

    def find(pixels_HWC: NDArray[np.uint8]) -> list[FoundFace]:
        return [face for side in _YUNET_SIDES for face in look(pixels_HWC, side)]

    def look(pixels_HWC: NDArray[np.uint8], side: int) -> Iterator[FoundFace]:
        small_HWC, scale = _reduced(pixels_HWC, side)
        model.setInputSize((small_HWC.shape[1], small_HWC.shape[0]))
        _, rows = model.detect(np.ascontiguousarray(small_HWC[..., ::-1]))
        for row in () if rows is None else rows:
            yield _face(row[:4], row[4:14].reshape(5, 2), float(row[14]), scale)

    return find


def _mtcnn(config: FacesConfig) -> NamedFinder:
    try:
        version = importlib.metadata.version("facenet-pytorch")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra("facenet-pytorch", "face", "The face finder MTCNN") from error
    return NamedFinder(f"mtcnn-facenet-pytorch-{version}", True, _load_mtcnn, config)


def _load_mtcnn() -> FaceFinder:
    import torch
    from facenet_pytorch import MTCNN

    model = MTCNN(keep_all=True, device="cpu", post_process=False, min_face_size=24)

    def find(pixels_HWC: NDArray[np.uint8]) -> list[FoundFace]:
        small_HWC, scale = _reduced(pixels_HWC, _MTCNN_SIDE)
        with torch.inference_mode():
            boxes, scores, points = model.detect(small_HWC, landmarks=True)
        if boxes is None:
            return []
        sizes = [(b[0], b[1], b[2] - b[0], b[3] - b[1]) for b in boxes]
        return [_face(b, p, float(s), scale) for b, p, s in zip(sizes, points, scores, strict=True)]

    return find


def _haar(config: FacesConfig) -> NamedFinder:
    return NamedFinder(f"haar-opencv-{cv2.__version__}", False, _load_haar, config)


def _load_haar() -> FaceFinder:
    folder = Path(str(cv2.__file__)).parent / "data"
    file = folder / "haarcascade_frontalface_alt2.xml"
    cascade = cv2.CascadeClassifier(str(file))

    def find(pixels_HWC: NDArray[np.uint8]) -> list[FoundFace]:
        small_HWC, scale = _reduced(pixels_HWC, _HAAR_SIDE)
        grey_HW = cv2.equalizeHist(cv2.cvtColor(small_HWC, cv2.COLOR_RGB2GRAY))
        boxes = cascade.detectMultiScale(grey_HW, scaleFactor=1.1, minNeighbors=6, minSize=(32, 32))
        # The cascade gives no probability: what it returns has passed its vote.
        return [_face(b, np.zeros((0, 2)), 1.0, scale) for b in boxes]

    return find


def _reduced(pixels_HWC: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    small: Any = shrink(pixels_HWC, side)
    return small, pixels_HWC.shape[1] / small.shape[1]


def _face(corner_and_size: Any, points: Any, score: float, scale: float) -> FoundFace:
    x, y, width, height = (float(v) * scale for v in corner_and_size)
    return FoundFace(
        box=Box(left=x, top=y, right=x + width, bottom=y + height),
        landmarks=tuple(Point(x=float(px) * scale, y=float(py) * scale) for px, py in points),
        score=min(max(score, 0.0), 1.0),
    )


def _merge(faces: list[FoundFace]) -> list[FoundFace]:
    """One face per place: the surest of those that overlap."""
    kept: list[FoundFace] = []
    for face in sorted(faces, key=lambda f: -f.score):
        if all(_overlap(face.box, k.box) < _SAME_FACE for k in kept):
            kept.append(face)
    return kept


def _overlap(a: Box, b: Box) -> float:
    wide = min(a.right, b.right) - max(a.left, b.left)
    high = min(a.bottom, b.bottom) - max(a.top, b.top)
    shared = max(wide, 0.0) * max(high, 0.0)
    return shared / max(a.width * a.height + b.width * b.height - shared, 1e-9)
