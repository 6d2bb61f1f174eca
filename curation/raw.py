"""Camera RAW to 16-bit RGB through LibRaw, with guards against files that hold no pixels.

Developed the same way for every camera, so that photos compare: camera white balance, no automatic
brightening, sRGB primaries and transfer curve, 16 bit, LibRaw's default demosaicing (AHD).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
import tifffile
from PIL import Image

from curation import metadata
from curation.decode import DecodedPhoto
from curation.facts import Facts, read_judgement
from data_manifests.errors import UnreadablePhoto
from data_manifests.records import Capture

__all__ = ["read_raw", "read_raw_facts"]

PROFILE = "sRGB (developed from RAW)"
MOST_EQUAL_SHARE = 0.5  # good files measured at most 0.034, files without pixels at least 0.998
_TURNS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's flip to EXIF orientation
_XMP_TAG = 700


def read_raw_facts(path: Path, *, most_pixels: int) -> Facts:
    """The facts from the RAW's header; raises UnreadablePhoto."""
    with _libraw(), rawpy.imread(str(path)) as opened:
        return _facts(opened, path, most_pixels)


def read_raw(path: Path, *, most_pixels: int) -> DecodedPhoto:
    """The developed photo, upright; raises UnreadablePhoto."""
    _check_strips(path)
    with _libraw(), rawpy.imread(str(path)) as opened:
        facts = _facts(opened, path, most_pixels)
        _check_samples(opened)
        pixels_HWC = opened.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            output_bps=16,
            output_color=rawpy.ColorSpace.sRGB,
            gamma=(2.4, 12.92),
        )
        height, width = pixels_HWC.shape[:2]
        depth = int(opened.white_level or 0).bit_length() or 16
    return DecodedPhoto(pixels_HWC, replace(facts, width=width, height=height, bit_depth=depth))


@contextmanager
def _libraw() -> Iterator[None]:
    """LibRaw's exceptions as reason codes, other readers' warnings about odd metadata silenced."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except rawpy.LibRawError as error:
        raise _refused(error) from error


def _refused(error: Exception) -> UnreadablePhoto:
    text = error.args[0] if error.args else b""
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    unsupported = isinstance(error, rawpy.LibRawFileUnsupportedError)
    return UnreadablePhoto(
        "raw_unsupported" if unsupported else "damaged",
        f"LibRaw can't develop it: {said.strip() or type(error).__name__}.",
        "Export it as TIFF from your RAW converter.",
    )


def _facts(opened: Any, path: Path, most_pixels: int) -> Facts:
    sizes = opened.sizes
    if sizes.raw_width * sizes.raw_height > most_pixels:
        raise UnreadablePhoto(
            "too_many_pixels", f"{sizes.raw_width} x {sizes.raw_height} is more than is allowed."
        )
    turned = sizes.flip in (5, 6)
    said = read_judgement(path, _xmp_packet(path))
    return Facts(
        format="RAW",
        width=sizes.iheight if turned else sizes.iwidth,
        height=sizes.iwidth if turned else sizes.iheight,
        bit_depth=16,  # the sensor's own depth is known after unpacking only
        orientation=_TURNS.get(sizes.flip, 1),
        colour_profile=PROFILE,
        capture=_capture(path),
        xmp_rating=said.rating,
        xmp_label=said.label,
    )


def _check_samples(opened: Any) -> None:
    """Refuse a file whose sensor data is one value: LibRaw reports no error for missing pixels."""
    samples = opened.raw_image
    if samples is None or samples.size == 0:
        raise UnreadablePhoto("raw_no_pixels", "The RAW holds no sensor data.")
    share = float(np.mean(samples.reshape(-1)[1:] == samples.flat[0]))
    if share > MOST_EQUAL_SHARE:
        raise UnreadablePhoto(
            "raw_no_pixels", f"{share:.0%} of the sensor data is one value: the pixels are missing."
        )


def _check_strips(path: Path) -> None:
    """Refuse a TIFF-based RAW with a strip or tile beyond its end: LibRaw fills those silently."""
    size = path.stat().st_size
    try:
        with tifffile.TiffFile(path) as opened:
            ends = [end for page in opened.pages for end in _ends(page)]
    except Exception:  # not TIFF inside, or so damaged that LibRaw will say so
        return
    if any(end > size for end in ends):
        raise UnreadablePhoto("truncated", "Parts of the RAW data lie beyond the end of the file.")


def _ends(page: Any) -> list[int]:
    own = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
    return own + [end for inner in (page.pages or ()) for end in _ends(inner)]


def _capture(path: Path) -> Capture | None:
    exif = Image.Exif()
    try:
        with path.open("rb") as handle:
            exif.load_from_fp(handle)
            facts = metadata.capture_facts(exif, exif.get_ifd(0x8769))
            return facts if facts != Capture() else None
    except Exception:  # many RAW formats are no TIFF; metadata never costs the photo
        return None


def _xmp_packet(path: Path) -> bytes:
    try:
        with tifffile.TiffFile(path) as opened:
            tag = opened.pages[0].tags.get(_XMP_TAG)
            return bytes(tag.value) if tag is not None else b""
    except Exception:  # see _capture
        return b""
