"""The whole photo at more pixels, before its faces are pasted in: by Lanczos or by a model.

Legend: H rows, W columns, C channels, S the model's own factor. Pixels are the file's, in its own
colours; a model sees them as float32 RGB, 0 to 1.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from curation.decode import Pixels
from data_manifests.errors import CheckpointError, ConfigError, MissingExtra
from data_manifests.seals import file_sha256

__all__ = ["Upscaler", "enlarge", "open_upscaler"]

_OVERLAP = 16  # px of a tile that its neighbour sees too
_LEAST_TILE = 64  # px

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Upscaler:
    """A super-resolution model that enlarges photos tile by tile; one thread at a time."""

    name: str
    sha256: str
    scale: int
    model: Any
    device: torch.device
    tile: int = 512  # px of the photo; halved when memory runs out
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, pixels_HWC: Pixels) -> Pixels:
        """The pixels at `scale` times the size, of the same depth."""
        with self._lock:
            while True:
                try:
                    return self._enlarge(pixels_HWC)
                except (RuntimeError, MemoryError) as error:
                    if "memory" not in str(error).lower() or self.tile <= _LEAST_TILE:
                        raise
                    self.tile //= 2
                    log.warning("out of memory; going on with tiles of %d px", self.tile)

    def _enlarge(self, pixels_HWC: Pixels) -> Pixels:
        height, width = pixels_HWC.shape[:2]
        large_HWC = np.empty((height * self.scale, width * self.scale, 3), pixels_HWC.dtype)
        for rows in _spans(height, self.tile):
            for columns in _spans(width, self.tile):
                seen = _widened(rows, height), _widened(columns, width)
                tile_HWC = self._run(pixels_HWC[seen])
                top, left = ((rows.start - seen[0].start), (columns.start - seen[1].start))
                high, wide = (rows.stop - rows.start), (columns.stop - columns.start)
                large_HWC[_grown(rows, self.scale), _grown(columns, self.scale)] = tile_HWC[
                    _grown(slice(top, top + high), self.scale),
                    _grown(slice(left, left + wide), self.scale),
                ]
        return large_HWC

    @torch.no_grad()
    def _run(self, tile_HWC: Pixels) -> Pixels:
        most = np.iinfo(tile_HWC.dtype).max
        flat = torch.from_numpy(np.ascontiguousarray(tile_HWC, np.float32) / np.float32(most))
        seen_1CHW = flat.permute(2, 0, 1)[None].to(self.device)
        large_HWC = self.model(seen_1CHW)[0].clamp(0, 1).permute(1, 2, 0).float().cpu().numpy()
        if not np.isfinite(large_HWC).all():
            raise CheckpointError(
                f"The upscaler {self.name} returned values that are no numbers.",
                "Take another model, or leave --upscaler out.",
            )
        rounded: Pixels = np.rint(large_HWC * most).astype(tile_HWC.dtype)
        return rounded


def open_upscaler(file: Path, device: str | torch.device = "cpu") -> Upscaler:
    """The model in a safetensors file, of any architecture that spandrel knows (ESRGAN, SwinIR...).

    Raises ConfigError for a file that holds no such model: pickled ones are never opened.
    """
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError as error:
        raise MissingExtra("spandrel", "upscale", "Enlarging by a model") from error
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise ConfigError(f"{file} is no file.", "Name an upscaler's .safetensors file.")
    try:
        found = ModelLoader(device).load_from_state_dict(load_file(file))
    except (SafetensorError, UnsupportedModelError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise ConfigError(
            f"{file} is no upscaler that can be opened: {reason}.",
            "It must be safetensors, of an architecture that spandrel lists.",
        ) from error
    if not isinstance(found, ImageModelDescriptor) or found.input_channels != 3:
        raise ConfigError(
            f"{file} holds a {found.architecture.name} model, which turns no photo into a photo.",
            "Name a super-resolution model for RGB pictures.",
        )
    return Upscaler(file.name, file_sha256(file), found.scale, found.eval(), torch.device(device))


def enlarge(pixels_HWC: Pixels, factor: float, upscaler: Upscaler | None = None) -> Pixels:
    """The pixels at `factor` times the size; as they are at 1, unless there is an upscaler.

    By Lanczos over 8 x 8 pixels, which invents nothing; or by the upscaler, whose own factor holds
    where `factor` is 1, and whose picture is resampled by area or Lanczos to any other.
    """
    if upscaler is not None:
        large_HWC = upscaler(pixels_HWC)
        return large_HWC if factor == 1 else _resized(large_HWC, pixels_HWC.shape, factor)
    return pixels_HWC if factor == 1 else _resized(pixels_HWC, pixels_HWC.shape, factor)


def _resized(pixels_HWC: NDArray[Any], shape: tuple[int, ...], factor: float) -> Pixels:
    height, width = (round(side * factor) for side in shape[:2])
    way = cv2.INTER_AREA if height < pixels_HWC.shape[0] else cv2.INTER_LANCZOS4
    resized: Any = cv2.resize(pixels_HWC, (width, height), interpolation=way)
    return resized  # type: ignore[no-any-return]


def _spans(length: int, tile: int) -> Iterator[slice]:
    for start in range(0, length, tile):
        yield slice(start, min(start + tile, length))


def _widened(span: slice, length: int) -> slice:
    return slice(max(0, span.start - _OVERLAP), min(length, span.stop + _OVERLAP))


def _grown(span: slice, scale: int) -> slice:
    return slice(span.start * scale, span.stop * scale)
