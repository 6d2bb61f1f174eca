"""Which format a file is, by its first bytes; the name decides only where they leave it open."""

from __future__ import annotations

from pathlib import PurePath

__all__ = ["HEAD_BYTES", "PICTURES", "RAW_SUFFIXES", "looks_like_photo", "sniff"]

HEAD_BYTES = 64

PICTURES = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF", "PSD", "RAW")

RAW_SUFFIXES = frozenset(
    f".{end}"
    for end in (
        *(
            "3fr",
            "arw",
            "cr2",
            "cr3",
            "crw",
            "dcr",
            "dng",
            "erf",
            "fff",
            "iiq",
            "k25",
            "kdc",
            "mef",
        ),
        *(
            "mos",
            "mrw",
            "nef",
            "nrw",
            "orf",
            "pef",
            "raf",
            "raw",
            "rw2",
            "rwl",
            "sr2",
            "srf",
            "srw",
        ),
        "x3f",
    )
)
_PICTURE_SUFFIXES = frozenset(
    f".{end}"
    for end in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "tif", "tiff", "btf"),
        *("webp", "avif", "heic", "heif", "hif", "psd", "psb"),
    )
)
# Pictures that are not taken in: listed all the same, so that they end in the table with a reason.
_OTHER_SUFFIXES = frozenset(
    f".{end}"
    for end in (
        *("bmp", "eps", "fli", "gif", "icns", "ico", "j2k", "jp2", "jpf", "jpx", "jxl", "pcx"),
        *("ppm", "sgi", "svg", "svgz", "tga", "xcf"),
    )
)
_OTHER_MAGIC = (b"GIF8", b"BM", b"\x00\x00\x00\x0cjP  ", b"\x00\x00\x00\x0cJXL ", b"%!PS")
_RAW_MAGIC = (
    b"FUJIFILMCCD-RAW",
    b"IIU\x00",
    b"IIRO",
    b"IIRS",
    b"MMOR",
    b"\x00MRM",
    b"FOVb",
    b"II\x1a\x00\x00\x00HEAPCCDR",
)
_PLAIN_MAGIC: dict[str, bytes | tuple[bytes, ...]] = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "PSD": b"8BPS\x00",
    "RAW": _RAW_MAGIC,
}
_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))


def sniff(head: bytes, name: str) -> str:
    """One of PICTURES, or an empty text for anything else. `head` is the first HEAD_BYTES bytes."""
    for kind, magic in _PLAIN_MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else ""
    if head[4:8] == b"ftyp":
        return _sniff_box(head)
    if head and PurePath(name).suffix.lower() in RAW_SUFFIXES:
        return "RAW"  # most RAW formats are TIFF inside, some have no magic bytes at all
    if head.startswith(_TIFF_MAGIC):
        return "RAW" if head[8:10] == b"CR" else "TIFF"
    return ""


def looks_like_photo(head: bytes, name: str) -> bool:
    """True if the name or the first bytes are those of a picture, supported or not."""
    suffix = PurePath(name).suffix.lower()
    known = suffix in _PICTURE_SUFFIXES or suffix in RAW_SUFFIXES or suffix in _OTHER_SUFFIXES
    return known or bool(sniff(head, name)) or head.startswith(_OTHER_MAGIC)


def _sniff_box(head: bytes) -> str:
    """The format of an ISO media file, from its brands."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12]} | {head[i : i + 4] for i in range(16, size - 3, 4)}
    if b"crx " in brands:
        return "RAW"
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else ""
