"""Any supported file to upright RGB pixels and the facts about it. Runs inside the killable child.

States of the pixels: the file's own layout -> RGB of the same depth in the file's colour profile ->
the same, upright. Nothing is converted to sRGB here, that is for crops and proxies; only CMYK and
Lab, which have no RGB of their own, are. Rules that keep damage from passing as a picture: the
first exception of a file is its verdict, nothing is loaded twice through one object, and metadata
is read after the pixels.
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
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from curation.facts import Facts, bit_depth, facts_of, profile_space, rgb_profile
from curation.formats import HEAD_BYTES, RAW_SUFFIXES, sniff
from data_manifests.errors import UnreadablePhoto

__all__ = ["DecodedPhoto", "Pixels", "read_facts", "read_photo", "upright"]

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

MOST_PIXELS = 250_000_000
_DNG_VERSION = 50706
_CODES = {
    "AVIF": "AVIF",
    "HEIF": "HEIF",
    "JPEG": "JPEG",
    "PNG": "PNG",
    "TIFF": "TIFF",
    "WEBP": "WEBP",
}


@dataclass(frozen=True, slots=True, eq=False)
class DecodedPhoto:
    """Upright RGB pixels, uint8 or uint16, in the colour space of `facts.icc` (sRGB if none)."""

    pixels_HWC: Pixels
    facts: Facts


def read_facts(path: Path, *, most_pixels: int = MOST_PIXELS) -> Facts:
    """The facts from the header alone, without decoding pixels; raises UnreadablePhoto."""
    kind = _kind(path)
    if kind == "RAW":
        from curation import raw

        return raw.read_raw_facts(path, most_pixels=most_pixels)
    with _pillow(kind, most_pixels), Image.open(path, formats=[_CODES[kind]]) as image:
        _check_size(image.size, most_pixels)
        return facts_of(image, path, kind, loaded=False)


def read_photo(path: Path, *, most_pixels: int = MOST_PIXELS) -> DecodedPhoto:
    """The decoded photo; raises UnreadablePhoto with a reason code for anything doubtful."""
    kind = _kind(path)
    if kind == "RAW":
        from curation import raw

        return raw.read_raw(path, most_pixels=most_pixels)
    with _pillow(kind, most_pixels):
        return _read_with_pillow(path, kind, most_pixels)


def upright(pixels_HWC: Pixels, orientation: int) -> Pixels:
    """The pixels as the photographer held the camera. Source: EXIF 2.32, tag 274."""
    turned: Any = pixels_HWC
    if orientation in (5, 6, 7, 8):
        turned = turned.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return turned  # type: ignore[no-any-return]


def _kind(path: Path) -> str:
    try:
        with path.open("rb") as handle:
            head = handle.read(HEAD_BYTES)
    except OSError as error:
        raise UnreadablePhoto("unreadable", f"{path} can't be read: {error.strerror}.") from error
    if not head:
        raise UnreadablePhoto("empty_file", "The file is empty.")
    kind = sniff(head, path.name)
    if not kind:
        raise UnreadablePhoto(
            "unsupported_format",
            "Its first bytes are those of no format that is taken in.",
            "Export it as TIFF, PNG or JPEG.",
        )
    if kind == "JPEG" and path.suffix.lower() in RAW_SUFFIXES:
        raise UnreadablePhoto(
            "raw_only_preview",
            "It is named like a RAW file and holds a JPEG preview only: no sensor data.",
            "Copy the original again, or rename the file to .jpg to use the preview.",
        )
    if kind == "HEIF":
        _register_heif()
    return "RAW" if kind == "TIFF" and _is_dng(path) else kind


def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise UnreadablePhoto(
            "heif_support_missing",
            "HEIC needs the package pillow-heif, which is not installed.",
            "Install it with: pip install -c constraints.txt -e '.[heif]'",
        ) from error
    pillow_heif.register_heif_opener(thumbnails=False)


@contextmanager
def _pillow(kind: str, most_pixels: int) -> Iterator[None]:
    """Pillow with our own pixel limit, quiet about odd metadata, its exceptions as reason codes."""
    standing = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = most_pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except UnreadablePhoto:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many(most_pixels) from error
    except MemoryError as error:
        raise UnreadablePhoto("memory", "Decoding it takes more memory than allowed.") from error
    except Exception as error:  # what a decoder raises on hostile bytes is a verdict on them
        reason = "truncated" if "truncated" in str(error).lower() else "damaged"
        unknown = isinstance(error, UnidentifiedImageError)  # its message repeats the path
        said = "its header is damaged" if unknown else " ".join(str(error).split())[:200]
        what = said or type(error).__name__
        raise UnreadablePhoto(reason, f"The {kind} can't be decoded: {what}.") from error
    finally:
        Image.MAX_IMAGE_PIXELS = standing


def _read_with_pillow(path: Path, kind: str, most_pixels: int) -> DecodedPhoto:
    if kind == "PNG":
        with Image.open(path, formats=["PNG"]) as image:
            image.verify()  # checks every chunk's CRC, which load() does not
    with Image.open(path, formats=[_CODES[kind]]) as image:
        _check_size(image.size, most_pixels)
        _check_strips(image, path)
        image.load()
        facts = facts_of(image, path, kind, loaded=True)
        pixels_HWC, icc = _to_rgb(image, facts.icc)
        if facts.bit_depth == 16 and pixels_HWC.dtype == np.uint8:
            if getattr(
                image, "is_animated", False
            ):  # decoders differ on which frame is the picture
                facts = replace(facts, notes=(*facts.notes, "animation: first picture, 8 bit"))
            else:
                pixels_HWC = _deep_pixels(path, pixels_HWC)
    if icc is not facts.icc:
        facts = replace(facts, icc=icc)
    return DecodedPhoto(upright(pixels_HWC, facts.orientation), facts)


def _to_rgb(image: Image.Image, icc: bytes | None) -> tuple[Pixels, bytes | None]:
    """(RGB pixels HWC, profile that they are in)."""
    if image.mode.startswith("I;16"):
        grey_HW = np.asarray(image, dtype=np.uint16)
        shift = max(0, 16 - bit_depth(image))  # 12-bit samples fill the lower bits only
        return np.repeat((grey_HW << shift)[..., None], 3, axis=2), rgb_profile(icc)
    if image.mode in ("I", "F"):
        raise UnreadablePhoto(
            "unsupported_pixels", "Its pixels are 32-bit numbers, not a photograph."
        )
    if image.mode in ("CMYK", "LAB"):
        return _ink_to_rgb(image, icc)
    picture = image if image.mode == "RGB" else image.convert("RGB")
    return np.asarray(picture), rgb_profile(icc)


def _ink_to_rgb(image: Image.Image, icc: bytes | None) -> tuple[Pixels, None]:
    """CMYK and Lab as sRGB: by the profile where there is one, else by the plain formula."""
    source: Any = None
    if image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    elif icc is not None and profile_space(icc) == "CMYK":
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    if source is None:
        return np.asarray(image.convert("RGB")), None
    srgb = ImageCms.createProfile("sRGB")
    changed = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    return np.asarray(changed), None


def _deep_pixels(path: Path, shallow_HWC: Pixels) -> Pixels:
    """The 16-bit RGB pixels that Pillow has cut to 8 bits, checked against what it made of them."""
    import cv2

    data = np.fromfile(path, dtype=np.uint8)
    found = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16 or found.shape[:2] != shallow_HWC.shape[:2]:
        raise UnreadablePhoto(
            "unsupported_pixels",
            "This kind of 16-bit picture can't be read at full depth.",
            "Save it as uncompressed, LZW or ZIP TIFF with 3 channels.",
        )
    deep_HWC = found[..., None] if found.ndim == 2 else found
    channels = deep_HWC.shape[2]
    order = [0, 0, 0] if channels < 3 else [2, 1, 0]
    deep_HWC = np.ascontiguousarray(deep_HWC[..., order])
    sample = (slice(None, None, 7), slice(None, None, 7))
    gap = np.abs((deep_HWC[sample] >> 8).astype(np.int16) - shallow_HWC[sample].astype(np.int16))
    if gap.max(initial=0) > 1:
        raise UnreadablePhoto("damaged", "Two decoders disagree about the pixels of this file.")
    return deep_HWC


def _is_dng(path: Path) -> bool:
    """True for a DNG that calls itself TIFF: read as TIFF it would give its thumbnail."""
    tags = Image.Exif()
    try:
        with path.open("rb") as handle, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tags.load_from_fp(handle)
            return _DNG_VERSION in tags
    except Exception:  # no directory that can be read: the decoder will say so
        return False


def _check_size(size: tuple[int, int], most_pixels: int) -> None:
    if size[0] * size[1] > most_pixels:
        raise _too_many(most_pixels)
    if min(size) < 1:
        raise UnreadablePhoto("damaged", f"It says it is {size[0]} x {size[1]} pixels.")


def _too_many(most_pixels: int) -> UnreadablePhoto:
    return UnreadablePhoto(
        "too_many_pixels",
        f"It has more than the {most_pixels / 1e6:g} million pixels that are allowed.",
        "Raise [ingest.decoder] most_pixels if it is a photo.",
    )


def _check_strips(image: Image.Image, path: Path) -> None:
    """Refuse a TIFF whose strips or tiles lie beyond the end of the file."""
    if not hasattr(image, "tag_v2"):
        return
    size = path.stat().st_size
    for offsets, counts in ((273, 279), (324, 325)):
        starts, lengths = (image.tag_v2.get(t, ()) for t in (offsets, counts))
        ends = (int(o) + int(n) for o, n in zip(_many(starts), _many(lengths), strict=False))
        if any(end > size for end in ends):
            raise UnreadablePhoto(
                "truncated", "Parts of the picture lie beyond the end of the file."
            )


def _many(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
