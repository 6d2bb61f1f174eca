"""What a picture file says about itself: size, depth, profile, orientation, capture, rating."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageCms

from curation import metadata
from data_manifests.records import Capture, Rights

__all__ = ["Facts", "bit_depth", "facts_of", "profile_space", "read_judgement", "rgb_profile"]

_EXIF_IFD, _ORIENTATION, _BITS_PER_SAMPLE, _TIFF_XMP = 0x8769, 274, 258, 700


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
    said = read_judgement(path, _xmp_packet(image))
    return Facts(
        format=kind,
        width=width,
        height=height,
        bit_depth=bit_depth(image),
        orientation=orientation,
        icc=icc,
        colour_profile=_profile_name(icc, notes),
        capture=_capture(exif, notes),
        xmp_rating=said.rating,
        xmp_label=said.label,
        notes=tuple(notes),
    )


def read_judgement(path: Path, embedded: bytes) -> metadata.Judgement:
    """The photographer's rating: from the newest sidecar that has one, else from the file."""
    packets = [p.read_bytes()[: metadata.XMP_LIMIT + 1] for p in metadata.sidecars(path)]
    said = [metadata.parse_xmp(p) for p in (*packets, embedded)]
    rating = next((s.rating for s in said if s.rating is not None), None)
    return metadata.Judgement(rating, next((s.label for s in said if s.label is not None), None))


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


def _capture(exif: Image.Exif, notes: list[str]) -> Capture | None:
    if not len(exif):
        return None
    try:
        facts = metadata.capture_facts(exif, exif.get_ifd(_EXIF_IFD))
        return facts if facts != Capture() else None
    except Exception:  # damaged metadata never costs the photo
        notes.append("EXIF unreadable")
        return None


def _xmp_packet(image: Image.Image) -> bytes:
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
