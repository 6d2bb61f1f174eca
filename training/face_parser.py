"""Where the face is by a face-parsing model, as masks on the latent grid, each made once and kept.

A parser is a semantic segmentation model of `transformers` (SegFormer and the like) that was taught
the parts of a face, in a local folder or by hub id. Which parts count is said by their names in its
own list of labels, so any such model serves. Reads the model's files, and the hub for an id alone.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from data_manifests.errors import ConfigError, InputError
from data_manifests.records import Sample
from training.cache import Cache, Key, make_key, tensors_sha256
from training.data import VAE_FACTOR, crop_bytes, crop_pixels
from training.tiny import quiet

__all__ = ["FaceMasks", "FaceParser", "load_parser"]

_FACE = 0.5  # a mask whose best cell is less likely to be face shows none


class FaceParser:
    """A loaded parser, frozen, in float32; `parts` are the labels that are face, by number."""

    def __init__(self, model: Any, processor: Any, parts: Sequence[int]) -> None:
        self.model, self.parts = model, tuple(parts)
        self._mean = torch.tensor(processor.image_mean).view(1, 3, 1, 1)
        self._std = torch.tensor(processor.image_std).view(1, 3, 1, 1)
        size = processor.size
        self._size = size.get("height", size.get("shortest_edge", 512)), size.get("width", 512)
        self.sha256 = tensors_sha256(model.state_dict())

    @torch.no_grad()
    def mask(self, pixels_HWC: NDArray[np.uint8], cells: int) -> Tensor:
        """How much each of cells x cells is face, in [0, 1]: the mean probability of all its parts.

        Pixels are sRGB of a square crop.
        """
        device = next(self.model.parameters()).device
        pixels_1CHW = torch.from_numpy(pixels_HWC).permute(2, 0, 1)[None].float() / 255
        sized_1CHW = interpolate(
            pixels_1CHW, self._size, mode="bilinear", antialias=True, align_corners=False
        )
        logits_1KHW = self.model(((sized_1CHW - self._mean) / self._std).to(device)).logits.float()
        side = VAE_FACTOR * cells
        sized_1KHW = interpolate(logits_1KHW, (side, side), mode="bilinear", align_corners=False)
        face_1HW = sized_1KHW.softmax(dim=1)[:, list(self.parts)].sum(dim=1)
        mask_1HW = torch.nn.functional.avg_pool2d(face_1HW[:, None], VAE_FACTOR)[:, 0]
        return mask_1HW[0].clamp(0, 1).cpu()


class FaceMasks:
    """Masks of samples' crops at one size, from a cache or made and put there."""

    def __init__(self, parser: FaceParser, size: int, cache: Cache) -> None:
        self.parser, self.size, self.cache = parser, size, cache
        self._one_at_a_time = Lock()

    def key(self, sample: Sample) -> Key:
        """The record of a sample's mask; a mirrored crop's is its mirror image."""
        parts = ",".join(map(str, self.parser.parts))
        return make_key(
            "masks", sample.crop_sha256, parser=self.parser.sha256, parts=parts, size=self.size
        )

    def of(self, sample: Sample, media: Path, *, mirror: bool) -> Tensor | None:
        """The mask HW of a sample's crop, on the CPU; none if the parser sees no face in it.

        Safe in a thread. InputError if the crop is missing or changed.
        """
        kept = self.cache.read(self.key(sample))
        mask_HW = kept["mask"] if kept is not None else self._make(sample, media)
        if float(mask_HW.max()) < _FACE:  # the loss would be the rest of the picture's
            return None
        return mask_HW.flip(1).contiguous() if mirror else mask_HW

    def fill(self, samples: Sequence[Sample], media: Path) -> Iterator[tuple[Sample, bool]]:
        """Make what is missing, yielding each sample and whether the parser sees a face in it."""
        for sample in samples:
            yield sample, self.of(sample, media, mirror=False) is not None

    def _make(self, sample: Sample, media: Path) -> Tensor:
        pixels_HWC = crop_pixels(sample, crop_bytes(sample, media), self.size)
        with self._one_at_a_time:
            mask_HW = self.parser.mask(pixels_HWC, self.size // VAE_FACTOR)
        mask_HW = mask_HW.nan_to_num()
        self.cache.write(self.key(sample), {"mask": mask_HW})
        return mask_HW


def load_parser(source: str, parts: Sequence[str], device: torch.device) -> FaceParser:
    """The parser in a local folder, or by hub id from the hub; safetensors alone.

    InputError if it can't be had or is no segmentation model, ConfigError if it knows a part not.
    """
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    local = Path(source).expanduser().is_dir()
    offline = local or bool(os.environ.get("HF_HUB_OFFLINE"))
    try:
        with quiet():
            model = AutoModelForSemanticSegmentation.from_pretrained(
                source, local_files_only=offline, use_safetensors=True
            )
            processor = AutoImageProcessor.from_pretrained(source, local_files_only=offline)
    except Exception as error:  # the hub's client raises a dozen unrelated types
        why = textwrap.shorten(str(error), 140, placeholder=" ...")
        raise InputError(
            f"The face parser {source} can't be loaded: {why}",
            "Name a transformers folder of a semantic segmentation model, or its hub id.",
        ) from error
    numbers = {str(name): int(n) for n, name in model.config.id2label.items()}
    unknown = [part for part in parts if part not in numbers]
    if unknown:
        raise ConfigError(
            f"The face parser knows no part {', '.join(unknown)}.",
            f"Its parts are: {', '.join(numbers)}. Name those that are face as face_parts.",
        )
    model.requires_grad_(False).eval().float().to(device)
    return FaceParser(model, processor, [numbers[part] for part in parts])
