"""From a Sample row to tensors: the crop at training size, its words, mask and boxes.

Reads files below media/; nothing else here touches the disk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from curation.colour import to_eight_bits
from curation.lossless import decode_lossless
from data_manifests.errors import InputError
from data_manifests.records import Box, Sample
from training.degrade import Recipe, moved_by, target
from training.regions import face_mask

__all__ = [
    "PARTS",
    "VAE_FACTOR",
    "Example",
    "Posterior",
    "aimed",
    "bare_example",
    "crop_bytes",
    "crop_pixels",
    "load_example",
    "mirrored",
    "part_boxes",
    "words",
]

PARTS = ("left_eye", "right_eye", "mouth", "nose", "left_brow", "right_brow")
_PAIRS = (("left_eye", "right_eye"), ("left_brow", "right_brow"))
# A brow over its eye, in distances between the eyes: how far above, and its box's half sides. The
# darkest line over 46 eyes lay at 0.28 (median; 0.20 to 0.44 in eight of ten).
_BROW_UP, _BROW_WIDE, _BROW_HIGH = 0.28, 0.42, 0.20
_AGAIN = "Run `authface ingest` and `authface manifest build` again."
VAE_FACTOR = 8  # a latent cell is 8 x 8 pixels in every SDXL VAE


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the VAE's encoder says of a crop, unscaled: a normal distribution per latent number."""

    mean_CHW: Tensor
    logvar_CHW: Tensor
    pixels_HWC: NDArray[np.uint8] | None = None  # the crop itself, where a step needs it too


@dataclass(frozen=True, slots=True)
class Example:
    """One sample, ready to train on."""

    sample: Sample
    pixels_HWC: NDArray[np.uint8]  # sRGB, size x size; 0 x 0 where only the posterior is used
    mask_HW: Tensor  # how much a latent cell is face, 0 to 1
    boxes_P4: Tensor  # in latent coordinates, rows as PARTS; all zero where unknown
    # SDXL's size and crop: original height and width, crop top and left, target height and width
    time_ids_6: Tensor
    mirrored: bool = False
    # Of exactly these pixels, mirrored and sized as they are; spares the step its encoding.
    posterior: Posterior | None = None


def load_example(sample: Sample, media: Path, size: int, *, mirror: bool) -> Example:
    """The sample at size x size; InputError if the crop is missing, changed, or not square."""
    pixels_HWC = crop_pixels(sample, crop_bytes(sample, media), size)
    return replace(
        bare_example(sample, size, mirror=mirror),
        pixels_HWC=mirrored(pixels_HWC) if mirror else pixels_HWC,
    )


def bare_example(sample: Sample, size: int, *, mirror: bool) -> Example:
    """What the row alone says of the sample at that size; reads no file and holds no pixels."""
    return Example(
        sample=sample,
        pixels_HWC=np.empty((0, 0, 3), np.uint8),
        mask_HW=torch.from_numpy(_mask(sample, size, mirror=mirror)),
        boxes_P4=torch.from_numpy(part_boxes(sample, size, mirror=mirror) / VAE_FACTOR).float(),
        time_ids_6=torch.tensor(
            [
                sample.native_height,
                sample.native_width,
                sample.crop_top,
                sample.crop_left,
                size,
                size,
            ],
            dtype=torch.float32,
        ),
        mirrored=mirror,
    )


def aimed(example: Example, recipe: Recipe) -> Example:
    """The example whose picture is what the recipe makes the restorer aim at, boxes moved along."""
    if not recipe.shared and not recipe.aim:
        return example
    known_P1 = example.boxes_P4.any(dim=1, keepdim=True)
    right, down = moved_by(recipe)
    by_4 = torch.tensor([right, down, right, down], dtype=torch.float32) / VAE_FACTOR
    return replace(
        example,
        pixels_HWC=target(example.pixels_HWC, recipe),
        boxes_P4=torch.where(known_P1, example.boxes_P4 + by_4, example.boxes_P4),
        mask_HW=torch.from_numpy(_moved(example.mask_HW.numpy(), right, down)),
        posterior=None,  # it was of the pixels before
    )


def crop_bytes(sample: Sample, media: Path) -> bytes:
    """The crop's file; InputError if it can't be read or is not what the table says."""
    path = media / sample.crop_path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"The crop {path} of sample {sample.sample_id} can't be read: {error.strerror}.", _AGAIN
        ) from error
    if hashlib.sha256(data).hexdigest() != sample.crop_sha256:
        raise InputError(
            f"The crop {path} of sample {sample.sample_id} was changed after the table was made.",
            _AGAIN,
        )
    return data


def crop_pixels(sample: Sample, data: bytes, size: int) -> NDArray[np.uint8]:
    """The crop's pixels at size x size from its file's bytes; InputError if it is not square."""
    image = Image.fromarray(to_eight_bits(decode_lossless(data, Path(sample.crop_path).suffix)))
    if image.width != image.height:
        raise InputError(
            f"Crop {sample.crop_path} is {image.width} x {image.height}, not square.", _AGAIN
        )
    resized = image if image.width == size else image.resize((size, size), Image.Resampling.LANCZOS)
    return np.array(resized, np.uint8)  # a copy: PyTorch wants memory that can be written


def mirrored(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture as a mirror shows it, in memory of its own."""
    return np.ascontiguousarray(pixels_HWC[:, ::-1])


def words(*groups: str | tuple[str, ...]) -> str:
    """One prompt from sentences and tags, joined by commas; empty ones fall away."""
    flat = [word for group in groups for word in ((group,) if isinstance(group, str) else group)]
    return ", ".join(word.strip() for word in flat if word.strip())


def part_boxes(sample: Sample, size: int, *, mirror: bool) -> NDArray[np.float64]:
    """Boxes of the face's parts, rows as PARTS, in pixels of the training crop; zero where unknown.

    A mirrored face's left eye is the one that was on the right of the picture.
    """
    boxes = _brow_boxes(sample) | {p: getattr(sample, f"{p}_box") for p in PARTS[:4]}
    for left, right in _PAIRS if mirror else ():
        boxes[left], boxes[right] = boxes[right], boxes[left]
    rows = np.array([_corners(boxes[part]) for part in PARTS], np.float64) * (size / sample.width)
    if mirror:
        known = rows.any(axis=1)
        rows[known] = np.stack(
            [size - rows[known, 2], rows[known, 1], size - rows[known, 0], rows[known, 3]], axis=1
        )
    return rows


def _brow_boxes(sample: Sample) -> dict[str, Box | None]:
    """Where the brows are by the eyes: the row has no boxes of them; none without landmarks."""
    if len(sample.landmarks) != 5:
        return {"left_brow": None, "right_brow": None}
    points_52 = np.array([(p.x, p.y) for p in sample.landmarks])
    apart = float(np.linalg.norm(points_52[1] - points_52[0]))
    up_2 = points_52[:2].mean(axis=0) - points_52[3:5].mean(axis=0)
    up_2 = up_2 / max(float(np.linalg.norm(up_2)), 1e-6)
    wide, high = _BROW_WIDE * apart, _BROW_HIGH * apart
    found: dict[str, Box | None] = {}
    for name, eye_2 in zip(("left_brow", "right_brow"), points_52[:2], strict=True):
        x, y = (float(v) for v in eye_2 + _BROW_UP * apart * up_2)
        found[name] = Box(left=x - wide, top=y - high, right=x + wide, bottom=y + high)
    return found


def _corners(box: Box | None) -> tuple[float, float, float, float]:
    return (0.0, 0.0, 0.0, 0.0) if box is None else (box.left, box.top, box.right, box.bottom)


def _mask(sample: Sample, size: int, *, mirror: bool) -> NDArray[np.float32]:
    cells = size // VAE_FACTOR
    if len(sample.landmarks) != 5:
        return np.ones(
            (cells, cells), np.float32
        )  # a finder without landmarks: all of the crop is taken as face
    points_52 = np.array([(p.x, p.y) for p in sample.landmarks]) * (size / sample.width)
    mask_HW = face_mask(points_52, size, cells)
    return np.ascontiguousarray(mask_HW[:, ::-1]) if mirror else mask_HW


def _moved(mask_HW: NDArray[np.float32], right: int, down: int) -> NDArray[np.float32]:
    """The mask moved by pixels of the crop, between cells where need be."""
    by = np.array([[1, 0, right / VAE_FACTOR], [0, 1, down / VAE_FACTOR]])
    size = (mask_HW.shape[1], mask_HW.shape[0])
    moved_HW = cv2.warpAffine(mask_HW, by, size, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved_HW, np.float32)
