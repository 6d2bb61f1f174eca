"""PSD and PSB: the merged picture that Photoshop saves beside the layers, at 8 or 16 bits, with its
transparency.

The merged picture is what the photographer last saw; without it ("maximise compatibility" off) the
file is refused, since putting layers together differs between programs.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from curation.decode import DecodedPhoto, Pixels
from curation.facts import Facts, facts_of, profile_space
from data_manifests.errors import UnreadablePhoto

__all__ = ["read_psd", "read_psd_facts"]

_MODES = {1: "grey", 3: "RGB", 4: "CMYK", 9: "Lab"}
_COLOURS = {"grey": 1, "RGB": 3, "CMYK": 4, "Lab": 3}  # channels


def read_psd_facts(path: Path, *, most_pixels: int) -> Facts:
    """The facts from the header and the image resources; raises UnreadablePhoto."""
    width, height, depth, _ = _header(path, most_pixels)
    return _facts(_open(path), path, (width, height, depth))


def read_psd(path: Path, *, most_pixels: int) -> DecodedPhoto:
    """The merged picture as RGB, and its transparency; raises UnreadablePhoto."""
    width, height, depth, mode = _header(path, most_pixels)
    opened = _open(path)
    facts = _facts(opened, path, (width, height, depth))
    if not opened.has_preview():
        raise UnreadablePhoto(
            "psd_no_merged_picture",
            "The PSD was saved without its merged picture.",
            'Save it with "Maximise compatibility", or export a TIFF.',
        )
    try:
        pixels_HWC, icc = _pixels(opened, mode, depth, facts.icc)
        alpha_HW = _alpha(opened, mode, deep=pixels_HWC.dtype == np.uint16)
    except UnreadablePhoto:
        raise
    except Exception as error:  # what a parser raises on hostile bytes is a verdict on them
        raise UnreadablePhoto("damaged", f"The PSD can't be read: {error}.") from error
    if pixels_HWC.shape[:2] != (height, width):
        raise UnreadablePhoto("damaged", "Its header and its picture disagree about the size.")
    return DecodedPhoto(pixels_HWC, replace(facts, icc=icc), alpha_HW, grey=mode == "grey")


def _header(path: Path, most_pixels: int) -> tuple[int, int, int, str]:
    """(width, height, depth, colour mode). Source: Adobe Photoshop File Formats, file header."""
    with path.open("rb") as handle:
        head = handle.read(26)
    if len(head) < 26:
        raise UnreadablePhoto("truncated", "The PSD ends within its header.")
    height, width, depth, mode = struct.unpack(">IIHH", head[14:26])
    if width * height > most_pixels:
        raise UnreadablePhoto("too_many_pixels", f"{width} x {height} is more than is allowed.")
    if depth not in (8, 16) or mode not in _MODES or not width * height:
        raise UnreadablePhoto(
            "unsupported_pixels", f"A PSD of {depth} bits in colour mode {mode} is not taken in."
        )
    return width, height, depth, _MODES[mode]


def _open(path: Path) -> Any:
    try:
        from psd_tools import PSDImage
    except ImportError as error:
        raise UnreadablePhoto(
            "psd_support_missing",
            "PSD needs the package psd-tools, which is not installed.",
            "Install it with: pip install -c constraints.txt -e '.[psd]'",
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PSDImage.open(path)
    except Exception as error:  # see read_psd
        raise UnreadablePhoto("damaged", f"The PSD can't be opened: {error}.") from error


def _facts(opened: Any, path: Path, size: tuple[int, int, int]) -> Facts:
    facts = facts_of(_stand_in(opened), path, "PSD", loaded=True)
    width, height, depth = size
    return replace(facts, width=width, height=height, bit_depth=depth, orientation=1)


def read_psd_blocks(path: Path) -> Image.Image:
    """A stand-in picture of one pixel with the PSD's metadata blocks; raises UnreadablePhoto."""
    return _stand_in(_open(path))


def _stand_in(opened: Any) -> Image.Image:
    from psd_tools.constants import Resource

    blocks = {
        "icc_profile": Resource.ICC_PROFILE,
        "exif": Resource.EXIF_DATA_1,
        "xmp": Resource.XMP_METADATA,
    }
    stand_in = Image.new("RGB", (1, 1))
    for name, code in blocks.items():
        found = opened.image_resources.get_data(code)
        if isinstance(found, bytes):
            stand_in.info[name] = found
    return stand_in


def _pixels(opened: Any, mode: str, depth: int, icc: bytes | None) -> tuple[Pixels, bytes | None]:
    if mode in ("CMYK", "Lab"):
        return _ink(opened, mode, icc), None
    if depth == 8:
        picture = opened.topil(apply_icc=False).convert("RGB")
        return np.asarray(picture), icc if profile_space(icc) == "RGB" else None
    shares: Any = opened.numpy("color")
    deep = np.rint(shares * 65535).astype(np.uint16)
    colour = deep if deep.shape[2] == 3 else np.repeat(deep[..., :1], 3, axis=2)
    return np.ascontiguousarray(colour), icc if profile_space(icc) == "RGB" else None


def _alpha(opened: Any, mode: str, *, deep: bool) -> Pixels | None:
    """The transparency HW, none if there is none: further channels may be spot colours or masks.

    The colours come without the white that Photoshop lays under what is transparent.
    """
    from psd_tools.api.utils import get_transparency_index, has_transparency

    if opened.channels <= _COLOURS[mode] or not has_transparency(opened):
        return None
    if deep:
        shares: NDArray[np.float32] = opened.numpy("shape")[..., 0]
        return np.rint(shares * 65535).astype(np.uint16)
    # By Pillow, since the other way takes dozens of bytes a pixel; unnamed (-1), it is the last.
    index = get_transparency_index(opened) % opened.channels
    return np.asarray(opened.topil(channel=index, apply_icc=False))


def _ink(opened: Any, mode: str, icc: bytes | None) -> Pixels:
    """CMYK and Lab as 8-bit sRGB by the profile; a CMYK file without one by the plain formula."""
    picture = opened.topil(apply_icc=False)
    source: Any = ImageCms.createProfile("LAB") if mode == "Lab" else None
    if mode == "CMYK" and icc is not None and profile_space(icc) == "CMYK":
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    if source is None:
        return np.asarray(picture.convert("RGB"))
    changed: Any = ImageCms.profileToProfile(
        picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    return np.asarray(changed)
