"""Camera RAW to 16-bit RGB through LibRaw, with guards against files that hold no pixels.

Developed the same way for every camera, so that photos compare: camera white balance, no automatic
brightening, sRGB primaries and transfer curve, 16 bit, LibRaw's default demosaicing (AHD).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
import tifffile
from PIL import Image

from curation import metadata
from curation.decode import DecodedPhoto, upright
from curation.facts import Facts, rgb_profile
from curation.jpeg import decode_jpeg
from curation.source import is_utf8
from curation.xmp import fill_rights, read_said
from data_manifests.errors import UnreadablePhoto

__all__ = [
    "OpenedRaw",
    "open_raw",
    "preview_and_lens",
    "raw_xmp",
    "read_preview",
    "read_raw",
    "read_raw_facts",
]

PROFILE = "sRGB (developed from RAW)"
DEVELOPMENT = (
    f"LibRaw {'.'.join(map(str, rawpy.libraw_version))}, AHD, camera white balance,"
    " no auto brightness, sRGB, 16 bit, gamma 2.4/12.92"
)
_SETTINGS: dict[str, Any] = {
    "use_camera_wb": True,
    "no_auto_bright": True,
    "output_bps": 16,
    "output_color": rawpy.ColorSpace.sRGB,
    "gamma": (2.4, 12.92),
}
_ORIENTATION = 274
MOST_EQUAL_SHARE = 0.5  # good files measured at most 0.034, files without pixels at least 0.998
_LEAST_BYTES = 0.05  # a pixel; lossy compression leaves some 0.3
_LEAST_PREVIEW = 1000  # px of the long side; smaller ones are for the camera's screen
_TURNS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's flip to EXIF orientation
_XMP_TAG = 700


def read_raw_facts(path: Path, *, most_pixels: int) -> Facts:
    """The facts from the RAW's header; raises UnreadablePhoto."""
    with _libraw(path), _imread(path) as opened:
        return _facts(opened, path, most_pixels)


def read_raw(path: Path, *, most_pixels: int, preview: bool = False) -> DecodedPhoto:
    """The developed photo at full size, upright; raises UnreadablePhoto.

    With `preview`, the JPEG that the camera embedded where the RAW's own data can't be developed.
    """
    _check_strips(path)
    try:
        with open_raw(path, most_pixels=most_pixels) as opened:
            return opened.develop()
    except UnreadablePhoto as error:
        if preview and error.reason in ("raw_unsupported", "raw_unsupported_compression"):
            return read_preview(path, most_pixels=most_pixels)
        raise


@dataclass(frozen=True, slots=True, eq=False)
class OpenedRaw:
    """A RAW file whose sensor data is unpacked once and may be developed twice."""

    handle: Any
    facts: Facts

    def develop(self, *, half: bool = False) -> DecodedPhoto:
        """16-bit sRGB; `half` takes a seventh of the time: each 2 x 2 of the sensor is one pixel.

        `facts.width` and `height` are those of the full picture in both cases.
        """
        pixels_HWC = self.handle.postprocess(half_size=half, **_SETTINGS)
        height, width = pixels_HWC.shape[:2]
        depth = int(self.handle.white_level or 0).bit_length() or 16
        size = {} if half else {"width": width, "height": height}
        return DecodedPhoto(pixels_HWC, replace(self.facts, bit_depth=depth, **size))


@contextmanager
def open_raw(path: Path, *, most_pixels: int) -> Iterator[OpenedRaw]:
    """The RAW with its sensor data checked; raises UnreadablePhoto."""
    _check_strips(path)
    with _libraw(path), _imread(path) as handle:
        facts = _facts(handle, path, most_pixels)
        _check_samples(handle)
        yield OpenedRaw(handle, facts)


def read_preview(path: Path, *, most_pixels: int) -> DecodedPhoto:
    """The largest JPEG that the camera embedded, upright; raises UnreadablePhoto."""
    with _libraw(path), _imread(path) as handle:
        found = handle.extract_thumb()
        flip = _TURNS.get(handle.sizes.flip, 1)
    if found.format != rawpy.ThumbFormat.JPEG:
        raise UnreadablePhoto("raw_no_preview", "The RAW holds no JPEG preview.")
    with Image.open(io.BytesIO(found.data), formats=["JPEG"]) as picture:
        if picture.width * picture.height > most_pixels:
            raise UnreadablePhoto("too_many_pixels", "Its preview is larger than is allowed.")
        own = int(picture.getexif().get(_ORIENTATION, 0))
        icc = rgb_profile(picture.info.get("icc_profile"))
        pixels_HWC, _ = decode_jpeg(found.data, picture)
    # Some makers turn the preview and some leave it: its own tag is right where there is one.
    landscape = pixels_HWC.shape[1] >= pixels_HWC.shape[0]
    turn = own or (flip if landscape else 1)
    turned = upright(pixels_HWC, turn)
    height, width = turned.shape[:2]
    facts = Facts(
        format="RAW",
        width=width,
        height=height,
        bit_depth=8,
        orientation=turn,
        icc=icc,
        colour_profile="of the embedded preview",
        **_told(path),
        development="embedded preview: the RAW data could not be developed",
    )
    return DecodedPhoto(turned, facts)


def preview_and_lens(path: Path) -> tuple[bytes, str]:
    """The embedded preview, empty if it is no JPEG, and the lens's name where LibRaw knows it."""
    with _libraw(path), _imread(path) as handle:
        found = handle.extract_thumb()
        lens = " ".join(str(handle.lens.model).split())[:100]
    return (found.data if found.format == rawpy.ThumbFormat.JPEG else b""), lens


def _imread(path: Path) -> Any:
    """LibRaw's handle; a name that is no UTF-8 can't be told to it, so it gets the bytes."""
    return rawpy.imread(str(path) if is_utf8(path) else io.BytesIO(path.read_bytes()))


@contextmanager
def _libraw(path: Path) -> Iterator[None]:
    """LibRaw's exceptions as reason codes, other readers' warnings about odd metadata silenced."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except rawpy.LibRawError as error:
        raise _refused(error, path) from error


def _refused(error: Exception, path: Path) -> UnreadablePhoto:
    text = error.args[0] if error.args else b""
    said = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    if _is_stub(path):
        return UnreadablePhoto(
            "truncated",
            f"Its {path.stat().st_size:,} bytes are too few for its sensor's pixels.",
            "Copy the original again: most of it is missing.",
        )
    unsupported = isinstance(
        error, (rawpy.LibRawFileUnsupportedError, rawpy.LibRawRequestForNonexistentImageError)
    )
    reason = "raw_unsupported" if unsupported else "damaged"
    x3f = path.suffix.lower() == ".x3f"
    todo = f"Export it as TIFF from {'SIGMA Photo Pro' if x3f else 'your RAW converter'}."
    preview = _preview_size(path)
    if preview:
        if _is_compressed(path):
            reason = "raw_unsupported_compression"
        if max(preview) >= _LEAST_PREVIEW:
            todo += (
                f" An ingest can take its preview of {preview[0]} x {preview[1]} px instead: set"
                " [ingest.decoder] raw_preview = true."
            )
    return UnreadablePhoto(
        reason, f"LibRaw can't develop it: {said.strip() or type(error).__name__}.", todo
    )


def _is_stub(path: Path) -> bool:
    """True if the file has fewer bytes than any compression leaves of its sensor's pixels."""
    try:
        with _imread(path) as handle:
            pixels: int = handle.sizes.raw_width * handle.sizes.raw_height
    except Exception:  # it does not know the file at all
        return False
    return path.stat().st_size < pixels * _LEAST_BYTES


def _preview_size(path: Path) -> tuple[int, int] | None:
    """Width and height of the embedded JPEG, none if there is none."""
    try:
        with _imread(path) as handle:
            found = handle.extract_thumb()
        with Image.open(io.BytesIO(found.data), formats=["JPEG"]) as picture:
            return picture.size
    except Exception:  # it only words the advice
        return None


def _is_compressed(path: Path) -> bool:
    """True if LibRaw knows the camera and stumbles over the data: a compression new to it."""
    try:
        with _imread(path) as handle:
            return bool(handle.sizes.raw_width)
    except Exception:  # it does not know the file at all
        return False


def _facts(opened: Any, path: Path, most_pixels: int) -> Facts:
    sizes = opened.sizes
    if sizes.raw_width * sizes.raw_height > most_pixels:
        raise UnreadablePhoto(
            "too_many_pixels", f"{sizes.raw_width} x {sizes.raw_height} is more than is allowed."
        )
    turned = sizes.flip in (5, 6)
    return Facts(
        format="RAW",
        width=sizes.iheight if turned else sizes.iwidth,
        height=sizes.iwidth if turned else sizes.iheight,
        bit_depth=16,  # the sensor's own depth is known after unpacking only
        orientation=_TURNS.get(sizes.flip, 1),
        colour_profile=PROFILE,
        development=DEVELOPMENT,
        **_told(path),
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


def _told(path: Path) -> dict[str, Any]:
    """What metadata and sidecars say, as fields of Facts."""
    exif, said = _exif(path), read_said(path, raw_xmp(path))
    return {
        "capture": exif.capture,
        "rights": fill_rights(said.rights, exif.rights),
        "latitude": exif.latitude,
        "longitude": exif.longitude,
        "xmp_rating": said.rating,
        "xmp_label": said.label,
        "xmp_pick": said.pick,
        "keywords": said.keywords,
        "notes": (*exif.notes, *said.notes),
    }


def _exif(path: Path) -> metadata.ExifSaid:
    exif = Image.Exif()
    try:
        with path.open("rb") as handle:
            exif.load_from_fp(handle)
            return metadata.read_exif(exif)
    except Exception:  # many RAW formats are no TIFF; metadata never costs the photo
        return metadata.ExifSaid()


def raw_xmp(path: Path) -> bytes:
    """The XMP inside a RAW built like a TIFF, empty if there is none or it can't be read."""
    try:
        with tifffile.TiffFile(path) as opened:
            tag = opened.pages[0].tags.get(_XMP_TAG)
            return bytes(tag.value) if tag is not None else b""
    except Exception:  # see _capture
        return b""
