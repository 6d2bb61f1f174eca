"""What a picture holds beside its colours: its alpha channel, and whether it has colours at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from curation.decode import Pixels

__all__ = ["alpha_of", "is_grey", "turn_alpha"]

_PNG_COLOUR_TYPE, _PNG_GREY = 25, (0, 4)
_GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")


def alpha_of(image: Image.Image) -> NDArray[np.uint8] | None:
    """The alpha HW of a picture that Pillow has loaded: a channel, or tRNS of a palette or key.

    Colours stored times their alpha (a TIFF's associated alpha) were divided by it in loading, by
    Pillow as by libvips.
    """
    if "A" in image.getbands():
        return np.asarray(image.getchannel("A"))
    if "transparency" not in image.info or image.mode not in ("1", "L", "P", "RGB"):
        return None
    return np.asarray(image.convert("RGBA").getchannel("A"))


def turn_alpha(alpha_HW: Pixels | None, orientation: int) -> Pixels | None:
    """The alpha upright, as `decode.upright` turns the pixels."""
    from curation.decode import upright

    return None if alpha_HW is None else upright(alpha_HW[..., None], orientation)[..., 0]


def is_grey(image: Image.Image, head: bytes) -> bool:
    """True for a picture without colours. `head` are its file's first bytes.

    Pillow opens a PNG of 16-bit grey and alpha as RGBA: the colour type in IHDR tells.
    """
    if image.format == "PNG" and len(head) > _PNG_COLOUR_TYPE:
        return head[_PNG_COLOUR_TYPE] in _PNG_GREY
    return image.mode in _GREY_MODES
