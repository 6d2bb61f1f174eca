"""What a picture file says about itself: size, depth, profile, orientation, capture, rating."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageCms

from curation import metadata
from curation.iptc import read_iptc
from curation.jpeg_tables import jpeg_quality
from curation.xmp import fill_rights, read_said
from data_manifests.records import Capture, Rights

__all__ = [
    "Facts",
    "bit_depth",
    "facts_of",
    "profile_space",
    "rgb_profile",
    "xmp_packet",
]

_ORIENTATION, _BITS_PER_SAMPLE, _TIFF_XMP = 274, 258, 700


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file says about itself; width and height are those of the upright picture."""

    format: str
    width: int
    height: int
    bit_depth: int
    orientation: int = 1
    icc: bytes | None = field(default=None, repr=False)
    colour_profile: str = "untagged"
    capture: Capture | None = None
    xmp_rating: int | None = None
    xmp_label: str | None = None
    xmp_pick: int | None = None
    keywords: tuple[str, ...] = ()
    rights: Rights | None = None
    latitude: float | None = None
    longitude: float | None = None
    jpeg_quality: int | None = None
    development: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def long_side(self) -> int:
        """The longer side in pixels."""
        return max(self.width, self.height)


def facts_of(image: Image.Image, path: Path, kind: str, *, loaded: bool) -> Facts:
    """The facts of an open picture. `loaded` says that its pixels are decoded already."""
    notes: list[str] = []
    # A PNG's EXIF may lie behind its pixels, and Pillow would decode them to get there.
    waits = kind == "PNG" and not loaded and "exif" not in image.info
    exif = Image.Exif() if waits else _exif(image, notes)
    orientation = 1 if kind == "HEIF" else _orientation(exif)  # libheif has turned it already
    width, height = image.size[::-1] if orientation >= 5 else image.size
    icc = image.info.get("icc_profile") or None
    profile = _profile_name(icc, notes)
    told, said = metadata.read_exif(exif), read_said(path, xmp_packet(image))
    keywords, rights = _iptc(image, notes)
    return Facts(
        format=kind,
        width=width,
        height=height,
        bit_depth=bit_depth(image),
        orientation=orientation,
        icc=icc,
        colour_profile=profile,
        capture=told.capture,
        xmp_rating=said.rating,
        xmp_label=said.label,
        xmp_pick=said.pick,
        keywords=said.keywords or keywords,
        rights=fill_rights(fill_rights(said.rights, rights), told.rights),
        latitude=told.latitude,
        longitude=told.longitude,
        jpeg_quality=_jpeg_quality(image, notes),
        notes=tuple(dict.fromkeys((*notes, *told.notes, *said.notes))),
    )


def _iptc(image: Image.Image, notes: list[str]) -> tuple[tuple[str, ...], Rights | None]:
    try:
        return read_iptc(image)
    except Exception:  # damaged metadata never costs the photo
        notes.append("IPTC unreadable")
        return (), None


def _jpeg_quality(image: Image.Image, notes: list[str]) -> int | None:
    """The quality that the file's quantisation tables speak of, 1 to 100; JPEG only."""
    tables = getattr(image, "quantization", None)
    if image.format not in ("JPEG", "MPO") or not tables:
        return None
    try:
        return jpeg_quality(tables)
    except ValueError:  # odd tables never cost the photo
        notes.append("JPEG tables unreadable")
        return None


def _profile_name(icc: bytes | None, notes: list[str]) -> str:
    """The profile's own description, or untagged. The profile is put to use once, so that one that
    brings down the colour engine does so here, in the child."""
    if icc is None:
        return "untagged"
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        space = str(profile.profile.xcolor_space).strip()
        if space == "RGB":
            ImageCms.profileToProfile(
                Image.linear_gradient("L").convert("RGB"), profile, ImageCms.createProfile("sRGB")
            )
        name = ImageCms.getProfileDescription(profile).strip()
    except Exception:  # a broken profile never costs the photo
        notes.append("colour profile unreadable, taken as sRGB")
        return "unreadable"
    return "".join(c for c in name if c.isprintable())[:100] or "unnamed"


def rgb_profile(icc: bytes | None) -> bytes | None:
    """The profile if it describes RGB: a grey one says nothing about the RGB made of it."""
    return icc if profile_space(icc) == "RGB" else None


def profile_space(icc: bytes | None) -> str:
    """The profile's colour space: RGB, GRAY, CMYK ..., empty if there is no profile."""
    return icc[16:20].decode("latin-1").strip() if icc else ""


def _exif(image: Image.Image, notes: list[str]) -> Image.Exif:
    try:
        return image.getexif()
    except Exception:  # damaged metadata never costs the photo
        notes.append("EXIF unreadable")
        return Image.Exif()


def _orientation(exif: Image.Exif) -> int:
    value = exif.get(_ORIENTATION)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def xmp_packet(image: Image.Image) -> bytes:
    """The XMP that an open picture holds, empty if it holds none."""
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    if not packet and hasattr(image, "tag_v2"):
        packet = image.tag_v2.get(_TIFF_XMP, b"")
    return packet.encode() if isinstance(packet, str) else bytes(packet)


def bit_depth(image: Image.Image) -> int:
    """Bits per channel in the file, which may be more than Pillow keeps."""
    if hasattr(image, "tag_v2"):
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))
        return int(bits[0] if isinstance(bits, tuple) else bits)
    if image.format == "PNG":
        return _png_depth(Path(image.filename))  # type: ignore[attr-defined]
    return int(image.info.get("bit_depth", 8))  # pillow-heif says 10 or 12 and hands over 8


def _png_depth(path: Path) -> int:
    """The bit depth in IHDR; Pillow keeps it nowhere."""
    with path.open("rb") as handle:
        return handle.read(25)[24]
