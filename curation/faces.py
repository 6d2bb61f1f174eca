"""What a face finder is, which ones can be had, and where a head points.

A finder takes sRGB pixels of any size and gives boxes and landmarks in those pixels. It looks at
reduced copies, so a face that fills an 8K frame is found as well as a small one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.config import FacesConfig
from curation.finders import (
    MEDIAPIPE_FILES,
    find_mediapipe_model,
    load_dlib,
    load_haar,
    load_mediapipe,
    load_mtcnn,
)
from curation.found import FaceFinder, FoundFace, merge
from curation.models import fetch_model, find_model, is_offline, verify_model
from curation.yunet import load_yunet
from data_manifests.errors import AuthFaceError, ConfigError, MissingExtra
from data_manifests.records import Point, Pose

__all__ = ["FaceFinder", "FoundFace", "NamedFinder", "estimate_pose", "find_yunet", "open_finder"]

_NO_LANDMARKS = "No landmarks: faces are boxed, but neither aligned nor cut."
_LESS = {
    "mtcnn": "MTCNN takes its place: it takes several times as long and misses turned faces.",
    "haar": f"Haar takes its place: it finds upright frontal faces only. {_NO_LANDMARKS}",
}

log = logging.getLogger(__name__)


@dataclass(slots=True)
class NamedFinder:
    """A finder with the name that Face rows carry; its model is loaded at the first call."""

    name: str
    has_landmarks: bool
    load: Callable[[], FaceFinder]
    config: FacesConfig
    lacks: str = ""  # what is lost against the finder that the house would rather use
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
        return sorted(merge(good), key=lambda f: -f.box.width * f.box.height)


def open_finder(config: FacesConfig) -> NamedFinder:
    """The finder that the settings name, or the best there is: YuNet, MTCNN, Haar.

    YuNet's file is fetched if it is missing and the settings allow it. Its tries end with the
    process: later calls take what there is. Raises InputError if the one that is named is missing.
    """
    makers = {"yunet": _yunet, "mtcnn": _mtcnn, "haar": _haar}
    makers |= {"dlib": _dlib, "mediapipe": _mediapipe}
    if config.finder != "auto":
        return makers[config.finder](config)
    problem = _missing_yunet(config)
    if not problem:
        return _yunet(config)
    instead = "mtcnn" if importlib.util.find_spec("facenet_pytorch") is not None else "haar"
    lacks = f"{problem} {_LESS[instead]}"
    _warn(lacks)
    return replace(makers[instead](config), lacks=lacks)


def find_yunet() -> Path | None:
    """YuNet's model file: in AUTHFACE_MODELS (a folder or the file), else in the user's cache."""
    return find_model("yunet")


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


def _missing_yunet(config: FacesConfig) -> str:
    """Why YuNet's file can't be had, or nothing; fetches it if that is allowed."""
    if find_yunet() is not None:
        return ""
    if not config.fetch:
        return "YuNet's model file is missing and [ingest.faces] fetch is off."
    if is_offline():
        return "YuNet's model file is missing (`authface models get yunet` fetches it)."
    return _fetch_problem()


@cache
def _fetch_problem() -> str:
    """Fetch YuNet's file, once in the life of a process; what went wrong, or nothing."""
    try:
        log.info("YuNet was fetched into %s", fetch_model("yunet"))
    except AuthFaceError as error:
        return f"YuNet's model file is missing: {error}"
    return ""


@cache
def _warn(lacks: str) -> None:
    """Log it once in the life of a process."""
    log.info("%s", lacks)  # the command line shows it; a library says it no louder


def _yunet(config: FacesConfig) -> NamedFinder:
    problem = _missing_yunet(config)
    path = find_yunet()
    if path is None:
        raise ConfigError(
            problem,
            "Get it with `authface models get yunet`, name its folder in AUTHFACE_MODELS, or set "
            '[ingest.faces] finder = "mtcnn".',
        )
    verify_model(path, "yunet")
    return NamedFinder("yunet-2023mar", True, partial(load_yunet, path, config), config)


def _mtcnn(config: FacesConfig) -> NamedFinder:
    version = _version("facenet-pytorch", "face", "The face finder MTCNN")
    return NamedFinder(f"mtcnn-facenet-pytorch-{version}", True, load_mtcnn, config)


def _haar(config: FacesConfig) -> NamedFinder:
    name = f"haar-opencv-{cv2.__version__}"
    return NamedFinder(name, False, load_haar, config, lacks=_NO_LANDMARKS)


def _dlib(config: FacesConfig) -> NamedFinder:
    if importlib.util.find_spec("dlib") is None:
        raise MissingExtra("dlib-bin", "dlib", "The face finder dlib")
    import dlib

    name = f"dlib-hog-{dlib.__version__}"
    return NamedFinder(name, False, load_dlib, config, lacks=_NO_LANDMARKS)


def _mediapipe(config: FacesConfig) -> NamedFinder:
    version = _version("mediapipe", "mediapipe", "The face finder MediaPipe")
    path = find_mediapipe_model()
    if path is None:
        raise ConfigError(
            "MediaPipe's model file is not there.",
            f"Put {MEDIAPIPE_FILES[0]} or {MEDIAPIPE_FILES[-1]} into the folder that "
            "AUTHFACE_MODELS names.",
        )
    load = partial(load_mediapipe, path, config.least_score)
    name = f"mediapipe-{version}-{path.stem}"
    return NamedFinder(name, False, load, config, lacks=_NO_LANDMARKS)


def _version(package: str, extra: str, purpose: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra(package, extra, purpose) from error
