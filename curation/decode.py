"""Any supported file to upright RGB pixels and the facts about it. Runs inside the killable child.

States of the pixels: the file's own layout -> RGB of the same depth in the file's colour profile ->
the same, upright. Nothing is converted to sRGB here, that is for crops and proxies; only CMYK and
Lab, which have no RGB of their own, are. Rules that keep damage from passing as a picture: the
first exception of a file is its verdict, nothing is loaded twice through one object, and every
format has one decoder that was seen to be strict.
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

from curation.deep import avif_depth
from curation.facts import Facts, bit_depth, facts_of, profile_space, rgb_profile
from curation.formats import HEAD_BYTES, RAW_SUFFIXES, sniff
from curation.jpeg import PixelBuffer, decode_jpeg
from curation.layers import alpha_of, is_grey, turn_alpha
from data_manifests.errors import UnreadablePhoto

__all__ = [
    "MOST_PIXELS",
    "DecodedPhoto",
    "Pixels",
    "kind_of",
    "open_picture",
    "read_facts",
    "read_photo",
    "upright",
]

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

MOST_PIXELS = 250_000_000
_DNG_VERSION, _ORIENTATION = 50706, 274
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
    """Upright RGB pixels, uint8 or uint16, in the colour space of `facts.icc` (sRGB if none).

    The alpha is as deep, and no colour is stored times its alpha. `grey`: the file holds one
    channel, which stands three times here.
    """

    pixels_HWC: Pixels
    facts: Facts
    alpha_HW: Pixels | None = None
    grey: bool = False


def read_facts(path: Path, *, most_pixels: int = MOST_PIXELS, data: bytes | None = None) -> Facts:
    """The facts from the header alone, without decoding pixels; raises UnreadablePhoto.

    `data` are the file's bytes where they are in memory already.
    """
    kind = kind_of(path, data)
    if kind == "RAW":
        from curation import raw

        return raw.read_raw_facts(path, most_pixels=most_pixels)
    if kind == "PSD":
        from curation import psd

        return psd.read_psd_facts(path, most_pixels=most_pixels)
    with _pillow(kind, most_pixels), _opened(path, kind, data) as image:
        _check_size(image.size, most_pixels)
        return facts_of(image, path, kind, loaded=False)


def read_photo(
    path: Path,
    *,
    most_pixels: int = MOST_PIXELS,
    data: bytes | None = None,
    buffer: PixelBuffer | None = None,
) -> DecodedPhoto:
    """The decoded photo; raises UnreadablePhoto with a reason code for anything doubtful.

    A JPEG is decoded into `buffer` where there is one: its pixels are good until the next photo.
    """
    kind = kind_of(path, data)
    if kind == "RAW":
        from curation import raw

        return raw.read_raw(path, most_pixels=most_pixels)
    if kind == "PSD":
        from curation import psd

        return psd.read_psd(path, most_pixels=most_pixels)
    with _pillow(kind, most_pixels):
        if kind == "JPEG":
            found = _read_jpeg(path, most_pixels, data, buffer)
            if found is not None:
                return found
        return _read_with_pillow(path, kind, most_pixels, data)


@contextmanager
def open_picture(path: Path, kind: str, most_pixels: int) -> Iterator[Image.Image]:
    """The header of a file of that kind, opened by Pillow; raises UnreadablePhoto."""
    with _pillow(kind, most_pixels), _opened(path, kind, None) as image:
        _check_size(image.size, most_pixels)
        yield image


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


def kind_of(path: Path, data: bytes | None = None) -> str:
    """The format by the first bytes; raises UnreadablePhoto for what is not taken in."""
    head = data[:HEAD_BYTES] if data is not None else _head(path)
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


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(HEAD_BYTES)
    except OSError as error:
        raise UnreadablePhoto("unreadable", f"{path} can't be read: {error.strerror}.") from error


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


def _opened(path: Path, kind: str, data: bytes | None) -> Image.Image:
    image: Image.Image
    if data is None:
        image = Image.open(path, formats=[_CODES[kind]])
    else:
        image = Image.open(io.BytesIO(data), formats=[_CODES[kind]])
        image.filename = str(path)
    if kind == "AVIF":  # Pillow keeps the depth nowhere
        image.info["bit_depth"] = avif_depth(data or path.read_bytes())
    return image


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


def _read_jpeg(
    path: Path, most_pixels: int, data: bytes | None, buffer: PixelBuffer | None
) -> DecodedPhoto | None:
    """A grey or YCbCr JPEG; none for the others (CMYK, YCCK), which need their profile."""
    data = path.read_bytes() if data is None else data
    with _opened(path, "JPEG", data) as image:
        if image.mode not in ("L", "RGB"):
            return None
        _check_size(image.size, most_pixels)
        facts = facts_of(image, path, "JPEG", loaded=False)
        pixels_HWC, note = decode_jpeg(data, image, buffer)
        grey = image.mode == "L"
    if note:
        facts = replace(facts, notes=(*facts.notes, note))
    facts = replace(facts, icc=rgb_profile(facts.icc))
    return DecodedPhoto(upright(pixels_HWC, facts.orientation), facts, grey=grey)


def _read_with_pillow(path: Path, kind: str, most_pixels: int, data: bytes | None) -> DecodedPhoto:
    if kind == "PNG":
        with _opened(path, kind, data) as image:
            image.verify()  # checks every chunk's CRC, which load() does not
    with _opened(path, kind, data) as image:
        _check_size(image.size, most_pixels)
        _check_strips(image, path)
        deep = _deep(image, path, kind, data)
        grey = is_grey(image, data or _head(path))
        turned = image.getexif().get(_ORIENTATION) if kind == "TIFF" and deep is None else None
        if deep is None:
            image.load()
        # A PNG's EXIF may lie behind its pixels: to get there, Pillow decodes them a second time.
        facts = facts_of(image, path, kind, loaded=deep is None or kind == "PNG")
        pixels_HWC: Pixels
        alpha_HW: Pixels | None
        if deep is not None:
            (pixels_HWC, alpha_HW), icc = deep, rgb_profile(facts.icc)
        else:
            (pixels_HWC, icc), alpha_HW = _to_rgb(image, facts.icc), alpha_of(image)
        if facts.bit_depth > 8 and pixels_HWC.dtype == np.uint8:
            facts = replace(facts, notes=(*facts.notes, "read at 8 bits"))
    if icc is not facts.icc:
        facts = replace(facts, icc=icc)
    pixels_HWC = upright(pixels_HWC, facts.orientation)
    alpha_HW = turn_alpha(alpha_HW, facts.orientation)
    if isinstance(turned, int) and 2 <= turned <= 8:
        facts = replace(facts, orientation=turned)  # loading has turned it and dropped the tag
    return DecodedPhoto(pixels_HWC, facts, alpha_HW, grey)


def _deep(
    image: Image.Image, path: Path, kind: str, data: bytes | None
) -> tuple[NDArray[np.uint16], NDArray[np.uint16] | None] | None:
    """(RGB, alpha) at 16 bits of what Pillow would cut to 8; none where Pillow reads all of it."""
    from curation import deep

    if kind in ("HEIF", "AVIF"):
        return deep.read_deep_heif(path, kind, data) if bit_depth(image) > 8 else None
    animated = getattr(image, "is_animated", False) and kind == "PNG"
    if bit_depth(image) != 16 or image.mode not in ("RGB", "RGBA", "RGBX") or animated:
        return None  # decoders differ on which frame of an animation is the picture
    return deep.read_deep(path, kind, data, image.size)


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
    changed = ImageCms.profileToProfile(
        image,
        source,
        srgb,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return np.asarray(changed), None


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
