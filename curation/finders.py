"""The face finders beside YuNet, behind one face: MTCNN, Haar, dlib and MediaPipe.

Each `load_...` gives a callable from sRGB pixels HWC to faces in those pixels, and imports what it
needs when it is called.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from curation.colour import shrink
from curation.found import FaceFinder, FoundFace, found_face

__all__ = [
    "MEDIAPIPE_FILES",
    "find_mediapipe_model",
    "load_dlib",
    "load_haar",
    "load_mediapipe",
    "load_mtcnn",
]

MEDIAPIPE_FILES = (
    "blaze_face_full_range.tflite",
    "blaze_face_full_range_sparse.tflite",
    "blaze_face_short_range.tflite",
)
_MTCNN_SIDE, _HAAR_SIDE, _DLIB_SIDE, _MEDIAPIPE_SIDE = 1024, 1024, 1024, 1024  # px
_MTCNN_LEAST = 24  # px; the smallest face it looks for
_NO_POINTS = np.zeros((0, 2))


def load_mtcnn() -> FaceFinder:
    """MTCNN of facenet-pytorch, whose wheel carries its weights: boxes and five landmarks."""
    import torch
    from facenet_pytorch import MTCNN

    model = MTCNN(keep_all=True, device="cpu", post_process=False, min_face_size=_MTCNN_LEAST)

    def find(pixels_HWC: NDArray[np.uint8]) -> list[FoundFace]:
        if min(pixels_HWC.shape[:2]) < _MTCNN_LEAST:
            return []  # not one level of its pyramid is left, and it fails
        small_HWC, scale = _reduced(pixels_HWC, _MTCNN_SIDE)
        with torch.inference_mode():
            boxes, scores, points = model.detect(small_HWC, landmarks=True)
        if boxes is None:
            return []
        sizes = [(b[0], b[1], b[2] - b[0], b[3] - b[1]) for b in boxes]
        return [found_face(b, p, s, scale) for b, p, s in zip(sizes, points, scores, strict=True)]

    return find


def load_haar() -> FaceFinder:
    """OpenCV's Haar cascade: boxes of frontal faces. What it finds has passed its vote: score 1."""
    folder = Path(str(cv2.__file__)).parent / "data"
    cascade = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_alt2.xml"))

    def find(pixels_HWC: NDArray[np.uint8]) -> list[FoundFace]:
        small_HWC, scale = _reduced(pixels_HWC, _HAAR_SIDE)
        grey_HW = cv2.equalizeHist(cv2.cvtColor(small_HWC, cv2.COLOR_RGB2GRAY))
        boxes = cascade.detectMultiScale(grey_HW, scaleFactor=1.1, minNeighbors=6, minSize=(32, 32))
        return [found_face(b, _NO_POINTS, 1.0, scale) for b in boxes]

    return find


def load_dlib() -> FaceFinder:
    """dlib's HOG detector, compiled into its wheel: boxes of upright, nearly frontal faces.

    Its score is a distance d from the border of a support vector machine, about 0 to 3. It is
    given as 1 / (1 + 4 ** -(d + 1)): its own border, 0, becomes 0.8, and 1 becomes 0.94.
    """
    import dlib

    detector = dlib.get_frontal_face_detector()

    def find(pixels_HWC: NDArray[np.uint8]) -> list[FoundFace]:
        small_HWC, scale = _reduced(pixels_HWC, _DLIB_SIDE)
        # It knows faces of 80 px and more, so small pictures are enlarged twofold.
        enlarge = 1 if max(small_HWC.shape[:2]) < _DLIB_SIDE else 0
        boxes, scores, _ = detector.run(np.ascontiguousarray(small_HWC), enlarge, -0.5)
        sizes = [(b.left(), b.top(), b.width(), b.height()) for b in boxes]
        likely = [1 / (1 + math.pow(4, -(d + 1))) for d in scores]
        return [found_face(b, _NO_POINTS, s, scale) for b, s in zip(sizes, likely, strict=True)]

    return find


def find_mediapipe_model() -> Path | None:
    """A BlazeFace file in AUTHFACE_MODELS (a folder, or the file itself); the full range first."""
    named = os.environ.get("AUTHFACE_MODELS")
    if not named:
        return None
    places = [Path(named) / file for file in MEDIAPIPE_FILES]
    if Path(named).name in MEDIAPIPE_FILES:
        places.insert(0, Path(named))
    return next((p for p in places if p.is_file()), None)


def load_mediapipe(path: Path, least_score: float) -> FaceFinder:
    """MediaPipe's FaceDetector with the BlazeFace file at `path`: boxes.

    Its six points have one for the mouth and none for its corners, so they are no landmarks here.
    Written from its documentation and never run with the house: its wheel brings another build of
    OpenCV, which can't be installed beside ours.

    Source: ai.google.dev/edge/mediapipe/solutions/vision/face_detector/python
    """
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceDetectorOptions(
        base_options=BaseOptions(model_asset_path=str(path)),
        running_mode=vision.RunningMode.IMAGE,
        min_detection_confidence=least_score,
    )
    detector = vision.FaceDetector.create_from_options(options)

    def find(pixels_HWC: NDArray[np.uint8]) -> list[FoundFace]:
        small_HWC, scale = _reduced(pixels_HWC, _MEDIAPIPE_SIDE)
        picture = mediapipe.Image(
            image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(small_HWC)
        )
        return [_from_mediapipe(d, scale) for d in detector.detect(picture).detections]

    return find


def _from_mediapipe(detection: Any, scale: float) -> FoundFace:
    box = detection.bounding_box  # whole pixels of the picture that was given
    sizes = (box.origin_x, box.origin_y, box.width, box.height)
    return found_face(sizes, _NO_POINTS, detection.categories[0].score, scale)


def _reduced(pixels_HWC: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    small: Any = shrink(pixels_HWC, side)
    return small, pixels_HWC.shape[1] / small.shape[1]
