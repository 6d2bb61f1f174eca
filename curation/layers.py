"""What a picture holds beside its colours: its alpha channel, and whether it has colours at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from curation.decode import Pixels

__all__ = ["Alpha", "alpha_of", "deep_alpha", "is_grey", "turn_alpha"]

_EXTRA_SAMPLES, _ASSOCIATED = 338, 1
_PNG_COLOUR_TYPE, _PNG_GREY = 25, (0, 4)
_GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True, slots=True, eq=False)
class Alpha:
    """Opacity HW, 0 to the full scale of its type, as deep as the pixels it belongs to.

    `premultiplied`: the pixels are stored times their opacity (a TIFF's associated alpha).
    """

    values_HW: Pixels
    premultiplied: bool = False


def alpha_of(image: Image.Image) -> Alpha | None:
    """The 8-bit alpha of a picture that Pillow has loaded: a channel, or tRNS of a palette or key.

    Pillow divides colours by an associated alpha, so theirs are never premultiplied.
    """
    if "A" in image.getbands():
        return Alpha(np.asarray(image.getchannel("A")))
    if "transparency" not in image.info or image.mode not in ("1", "L", "P", "RGB"):
        return None
    with_alpha = image.convert("RGBA")
    return Alpha(np.asarray(with_alpha.getchannel("A")))


def deep_alpha(values_HW: NDArray[np.uint16] | None, image: Image.Image) -> Alpha | None:
    """The 16-bit alpha that was read beside the pixels of `image`, if any."""
    if values_HW is None:
        return None
    tags: Any = getattr(image, "tag_v2", {})
    extra = tags.get(_EXTRA_SAMPLES, ())
    kinds = extra if isinstance(extra, tuple) else (extra,)
    return Alpha(values_HW, premultiplied=kinds[:1] == (_ASSOCIATED,))


def turn_alpha(alpha: Alpha | None, orientation: int) -> Alpha | None:
    """The alpha upright, as `decode.upright` turns the pixels."""
    from curation.decode import upright

    if alpha is None:
        return None
    return replace(alpha, values_HW=upright(alpha.values_HW[..., None], orientation)[..., 0])


def is_grey(image: Image.Image, head: bytes) -> bool:
    """True for a picture without colours. `head` are its file's first bytes.

    Pillow opens a PNG of 16-bit grey and alpha as RGBA: the colour type in IHDR tells.
    """
    if image.format == "PNG" and len(head) > _PNG_COLOUR_TYPE:
        return head[_PNG_COLOUR_TYPE] in _PNG_GREY
    return image.mode in _GREY_MODES
