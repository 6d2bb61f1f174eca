"""Restored photos of a workspace as before/after sliders, read from their sidecars."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from restore.compare import slider_html, to_jpeg

__all__ = ["restored_views"]

ENDING = ".authface.json"
WHOLE, FACE = 1000, 480  # px, long sides shown


def restored_views(root: Path) -> Iterator[dict[str, Any]]:
    """One view per sidecar under `root`/restored whose pictures are there, by name."""
    for sidecar in sorted((root / "restored").rglob(f"*{ENDING}")):
        said = json.loads(sidecar.read_text(encoding="utf-8"))
        before = sidecar.parent / said["input"]["path"]
        after = sidecar.with_name(sidecar.name.removesuffix(ENDING))
        if before.exists() and after.exists():
            yield _view(said, after.name, _pixels(before), _pixels(after))


def _view(
    said: dict[str, Any], name: str, before_HWC: NDArray[np.uint8], after_HWC: NDArray[np.uint8]
) -> dict[str, Any]:
    sliders = [_slider(before_HWC, after_HWC, WHOLE, f"{name}: the whole photo")]
    faces = [f for f in said["faces"] if f["status"] == "restored"]
    for face in faces:
        box = _around(face["box"], before_HWC.shape)
        label = f"{name}: face {face['index']}, enlarged"
        sliders.append(_slider(before_HWC[box], after_HWC[box], FACE, label))
    return {
        "name": name,
        "note": said["warning"] or said["about"],
        "summary": said["summary"],
        "sliders": sliders,
        "faces": [
            {k: f.get(k, "") for k in ("index", "status", "reason", "steps", "seed")}
            for f in said["faces"]
        ],
    }


def _slider(
    before_HWC: NDArray[np.uint8], after_HWC: NDArray[np.uint8], most: int, label: str
) -> str:
    return slider_html(to_jpeg(before_HWC, most), to_jpeg(after_HWC, most), label=label)


def _around(box: dict[str, float], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The face with some room around it, inside the photo."""
    room = 0.35 * (box["bottom"] - box["top"])
    top, bottom = max(0, int(box["top"] - room)), min(shape[0], int(box["bottom"] + room))
    left, right = max(0, int(box["left"] - room)), min(shape[1], int(box["right"] + room))
    return slice(top, bottom), slice(left, right)


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
