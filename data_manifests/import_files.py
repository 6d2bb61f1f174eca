"""The files of a folder that is imported: only what truly lies in it, and only pictures that hold.

Everything here comes from outside: names may point anywhere, and a picture may be anything.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from data_manifests.errors import InputError, UnreadablePhoto

__all__ = [
    "LONGEST_TEXT",
    "PICTURES",
    "Folder",
    "Picture",
    "as_json",
    "bare_png",
    "clean",
    "list_folder",
    "parse_json",
    "read_json",
    "read_picture",
]

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"))
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF")
MOST_PIXELS = 250_000_000
MOST_BYTES = 1_000_000_000
LONGEST_TEXT = 10_000  # characters
PixelHash = Callable[[Any], str]
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_pillow_lock = threading.Lock()  # Pillow's limit of pixels is global


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder and the names of the ordinary files in it, relative, with slashes, in order."""

    root: Path
    names: tuple[str, ...]
    odd: tuple[tuple[str, str], ...] = ()  # name and reason of what is no ordinary file in it
    known: frozenset[str] = field(default=frozenset(), repr=False)

    def why_not(self, name: str) -> str | None:
        """Why this name, as some file says it, is no file of the folder; none if it is one."""
        if name in self.known:
            return None
        parts = name.replace("\\", "/").split("/")
        if parts[0] == "" or parts[0].endswith(":") or ".." in parts:
            return "outside_the_folder"
        return "no_such_file"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was decoded to its last pixel; width and height are those of it upright."""

    data: bytes = field(repr=False)
    photo_id: str
    format: str
    width: int
    height: int
    mode: str
    bit_depth: int
    orientation: int
    profile: str
    modified_ns: int
    pixel_hash: str | None = None


def list_folder(root: Path) -> Folder:
    """The ordinary files below a folder. Links to files count if they stay inside of it."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder.", "Name the folder that holds the pictures.")
    inside = root.resolve()
    names: list[str] = []
    odd: list[tuple[str, str]] = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        linked = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted((*files, *linked)):
            path = Path(folder) / name
            reason = _why_odd(path, inside)
            said = path.relative_to(root).as_posix()
            if reason:
                odd.append((said.encode("utf-8", "backslashreplace").decode(), reason))
            else:
                names.append(said)
    return Folder(root, tuple(sorted(names)), tuple(odd), frozenset(names))


def read_json(path: Path) -> Any:
    """The file's JSON; raises ValueError with a sentence for anything that is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is larger than 1 GB")
        return parse_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"it can't be read: {error.strerror}") from error


def parse_json(data: bytes) -> Any:
    """The JSON in these bytes; raises ValueError with a sentence for anything that is none."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError("it is no UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error.msg} at line {error.lineno}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def as_json(value: object) -> str:
    """The value as JSON that any table can hold: half a character, which is no text, is escaped."""
    told = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return told.encode("utf-8", "backslashreplace").decode()


def read_picture(path: Path, pixel_hash: PixelHash | None = None) -> Picture:
    """Read and decode one picture; raises UnreadablePhoto with a short reason.

    `pixel_hash` is called with the upright pixels as 8-bit RGB, if 8 bits hold them.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as opened:
            facts = os.fstat(opened.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > MOST_BYTES:
                raise UnreadablePhoto("too_large", "is larger than 1 GB, or no ordinary file")
            data = opened.read()
    except OSError as error:
        raise UnreadablePhoto("unreadable", f"can't be read: {error.strerror}") from error
    if not data:
        raise UnreadablePhoto("empty_file", "is empty")
    with _pillow():
        return _decoded(data, min(facts.st_mtime_ns, 2**63 - 1), pixel_hash)


def bare_png(picture: Picture) -> bytes:
    """The pixels of an 8-bit picture as an RGB PNG: its colour profile stays, other metadata not.

    The bytes are never those of the file itself, so their hash does not tell which file it was.
    """
    with _pillow(), Image.open(io.BytesIO(picture.data), formats=FORMATS) as image:
        bare = image.convert("RGB")
        icc = bare.info.get("icc_profile")
        bare.info = {}
        made = _png(bare, icc)
        if made != picture.data:
            return made
        mark = PngImagePlugin.PngInfo()
        mark.add_text("Software", "AuthFace")
        return _png(bare, icc, mark)


def clean(text: str) -> str:
    """The text in Unicode's composed form, without control characters and outer blanks."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(c for c in composed if c == "\n" or unicodedata.category(c)[0] != "C").strip()


def _why_odd(path: Path, inside: Path) -> str | None:
    try:
        os.fspath(path).encode()
        if path.is_symlink() and not path.resolve(strict=True).is_relative_to(inside):
            return "link_out_of_the_folder"
        mode = path.stat().st_mode
    except UnicodeEncodeError:
        return "name_is_no_utf8"
    except (OSError, RuntimeError):
        return "broken_link"
    if stat.S_ISDIR(mode):
        return "link_to_a_folder"
    return None if stat.S_ISREG(mode) else "no_ordinary_file"


def _decoded(data: bytes, modified_ns: int, pixel_hash: PixelHash | None) -> Picture:
    Image.open(io.BytesIO(data), formats=FORMATS).verify()
    # A second opening: after verify, or after any error, Pillow may hand over half a picture.
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.load()
        kind = "JPEG" if image.format == "MPO" else str(image.format)
        orientation = int(image.getexif().get(0x0112, 1) or 1)
        width, height = image.size
        if orientation in _TURNED:
            width, height = height, width
        depth = _bit_depth(image, data, kind)
        hashed = depth <= 8 and image.mode != "LAB"  # which only a profile turns into RGB
        return Picture(
            data=data,
            photo_id=hashlib.sha256(data).hexdigest(),
            format=kind,
            width=width,
            height=height,
            mode=image.mode,
            bit_depth=depth,
            orientation=orientation,
            profile=_profile(image.info.get("icc_profile")),
            modified_ns=modified_ns,
            pixel_hash=pixel_hash(_upright(image)) if pixel_hash and hashed else None,
        )


def _png(
    image: Image.Image, icc: bytes | None, mark: PngImagePlugin.PngInfo | None = None
) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG", icc_profile=icc, pnginfo=mark, compress_level=3)
    return written.getvalue()


def _upright(image: Image.Image) -> Any:
    import numpy as np

    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _bit_depth(image: Image.Image, data: bytes, kind: str) -> int:
    if kind == "PNG":
        return data[24]  # Pillow turns 16-bit colour into 8 without a word
    if kind == "TIFF":
        bits: Any = image.tag_v2.get(258, 8)  # type: ignore[attr-defined]
        return int(bits[0] if isinstance(bits, tuple) else bits)
    return 16 if image.mode.startswith("I") else 8


def _profile(icc: bytes | None) -> str:
    if not icc:
        return "untagged"
    try:
        profile = ImageCms.getOpenProfile(io.BytesIO(icc))
        return clean(ImageCms.getProfileDescription(profile))[:80] or "unnamed"
    except (ImageCms.PyCMSError, OSError):
        return "damaged"


@contextmanager
def _pillow() -> Iterator[None]:
    """Pillow with our own limit; what its decoders raise on hostile bytes is a reason."""
    with _pillow_lock, warnings.catch_warnings():
        standing, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MOST_PIXELS
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except UnreadablePhoto:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise UnreadablePhoto("too_many_pixels", "has more than 250 megapixels") from error
        except UnidentifiedImageError as error:
            raise UnreadablePhoto(
                "unsupported_format", "is no PNG, JPEG, WebP or TIFF, or its head is damaged"
            ) from error
        except Exception as error:
            raise UnreadablePhoto("damaged", f"can't be decoded: {error}") from error
        finally:
            Image.MAX_IMAGE_PIXELS = standing
