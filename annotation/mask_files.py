"""Painted areas as files below media/: one-bit PNGs under the hash of their content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from annotation.masks import mask_png
from annotation.settle_regions import Masks
from data_manifests.errors import ManifestError
from data_manifests.media import write_media

if TYPE_CHECKING:
    from annotation.settle_regions import Mask_HW

__all__ = ["MaskFiles"]


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """The masks below one media folder."""

    media: Path

    def keep(self, png: bytes) -> str:
        """The path below media/ of a mask that is a PNG already."""
        return write_media(self.media, "masks", png, ".png")[0]

    def load(self, path: str) -> Mask_HW:
        """The mask at a path below media/, HW; raises ManifestError if it can't be read."""
        import numpy as np
        from PIL import Image

        try:
            with Image.open(self.media / path) as picture:
                return np.asarray(picture.convert("1"), dtype=np.bool_)
        except OSError as error:
            raise ManifestError(
                f"The painted area {path} can't be read from {self.media}.",
                "Run `authface annotate pull --full`, which writes it anew.",
            ) from error

    def save(self, mask_HW: Mask_HW) -> str:
        """The path below media/ of a mask."""
        import numpy as np

        return self.keep(mask_png(mask_HW.astype(np.uint8) * 255))

    @property
    def voted(self) -> Masks:
        """As settling takes them."""
        return Masks(self.load, self.save)
