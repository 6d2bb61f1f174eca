"""A contact sheet: every restored face before and after, with what a caption needs, as JPEGs."""

from __future__ import annotations

import io
import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data_manifests.errors import InputError
from data_manifests.media import write_atomic
from restore.looking import Looked, Zoom
from restore.outcome import Outcome
from restore.provenance import Carried, xmp_packet

__all__ = ["ContactSheet", "check_sheet"]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SIDE, _GAP, _CAPTION, _EDGE = 320, 4, 54, 24  # px
_ACROSS, _DOWN = 3, 5  # pairs on a sheet
_HEAD = 66
_PAPER, _INK, _SOFT = (250, 250, 250), (25, 25, 25), (95, 95, 95)
_COMMENT = b"AuthFace contact sheet"
_NOTICE = "Restored faces are guesses: not for identifying anyone."


def check_sheet(file: Path) -> None:
    """Raise InputError where a contact sheet can't be written without costing somebody a file."""
    if file.suffix.lower() not in (".jpg", ".jpeg"):
        raise InputError(f"{file.name} is no name for a JPEG.", "Call the sheet faces.jpg.")
    if file.exists() and not _is_sheet(file):
        raise InputError(
            f"{file} is there already and is no contact sheet of AuthFace.",
            "Give the sheet another name.",
        )


class ContactSheet:
    """The sheets under way: `add` each photo, then `close`. At most one sheet is in memory.

    The first is `file`, the others file-2.jpg and so on. Raises InputError as `check_sheet` does,
    and StorageError.
    """

    def __init__(self, file: Path, *, warning: str = "") -> None:
        check_sheet(file)
        self.file = file
        self._warning = warning
        self._written: list[Path] = []
        self._sheet: Image.Image | None = None
        self._pairs = 0  # on the sheet in memory

    def add(self, outcome: Outcome, looked: Looked | None) -> None:
        """The restored faces of one photo."""
        for zoom in () if looked is None else looked.zooms:
            if self._sheet is None:
                self._sheet, self._pairs = self._empty(), 0
            self._draw(self._sheet, outcome, zoom)
            self._pairs += 1
            if self._pairs == _ACROSS * _DOWN:
                self._write()

    def close(self) -> list[Path]:
        """The files, the last of them just written; sheets of a longer run before are deleted."""
        self._write()
        name = re.compile(re.escape(self.file.stem) + r"-\d+" + re.escape(self.file.suffix))
        for old in self.file.parent.glob("*"):
            if name.fullmatch(old.name) and old not in self._written and _is_sheet(old):
                old.unlink()
        return self._written

    def _empty(self) -> Image.Image:
        pair = 2 * _SIDE + _GAP
        width = _ACROSS * pair + (_ACROSS + 1) * _EDGE
        sheet = Image.new("RGB", (width, _HEAD + _DOWN * (_SIDE + _CAPTION) + _EDGE), _PAPER)
        draw = ImageDraw.Draw(sheet)
        draw.text((_EDGE, 14), "Restored faces: before | after", _INK, ImageFont.load_default(22))
        said = " ".join(filter(None, (_NOTICE, self._warning)))
        font = ImageFont.load_default(15)
        draw.text((_EDGE, 42), _cut(draw, said, font, width - 2 * _EDGE), _SOFT, font)
        return sheet

    def _draw(self, sheet: Image.Image, outcome: Outcome, zoom: Zoom) -> None:
        row, column = divmod(self._pairs, _ACROSS)
        left = _EDGE + column * (2 * _SIDE + _GAP + _EDGE)
        top = _HEAD + row * (_SIDE + _CAPTION)
        for number, pixels_HWC in enumerate((zoom.before_HWC, zoom.after_HWC)):
            sheet.paste(_square(pixels_HWC), (left + number * (_SIDE + _GAP), top))
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
        scale = "" if zoom.face.scale is None else f", scale {zoom.face.scale:.2g}"
        lines = ((outcome.source.name, _INK), (zoom.label + scale, _SOFT))
        for row, (text, ink) in enumerate(lines):
            place = (left, top + _SIDE + 5 + 21 * row)
            draw.text(place, _cut(draw, text, font, 2 * _SIDE), ink, font)

    def _write(self) -> None:
        if self._sheet is None:
            return
        rows = -(-self._pairs // _ACROSS)
        height = _HEAD + rows * (_SIDE + _CAPTION) + _EDGE
        used = self._sheet.crop((0, 0, self._sheet.width, height))
        number = len(self._written) + 1
        file = self.file if number == 1 else self.file.with_stem(f"{self.file.stem}-{number}")
        check_sheet(file)
        out = io.BytesIO()
        used.save(out, "JPEG", quality=90, comment=_COMMENT, xmp=xmp_packet(Carried()))
        write_atomic(file, out.getvalue())
        self._written.append(file)
        self._sheet = None


def _square(pixels_HWC: NDArray[np.uint8]) -> Image.Image:
    """The picture fitted into a square, on grey where it is not one."""
    height, width = pixels_HWC.shape[:2]
    share = _SIDE / max(height, width)
    size = (max(1, round(width * share)), max(1, round(height * share)))
    how = cv2.INTER_AREA if share < 1 else cv2.INTER_CUBIC
    fitted = Image.fromarray(cv2.resize(np.ascontiguousarray(pixels_HWC), size, interpolation=how))
    square = Image.new("RGB", (_SIDE, _SIDE), (225, 225, 225))
    square.paste(fitted, ((_SIDE - size[0]) // 2, (_SIDE - size[1]) // 2))
    return square


def _cut(draw: ImageDraw.ImageDraw, text: str, font: Font, most: int) -> str:
    """The text, its middle left out where it is too long: a name's end tells files apart."""
    if draw.textlength(text, font) <= most:
        return text
    keep = len(text) - 1
    while keep > 2 and draw.textlength(_shortened(text, keep), font) > most:
        keep -= 1
    return _shortened(text, keep)


def _shortened(text: str, keep: int) -> str:
    return text[: keep - keep // 2] + "..." + text[len(text) - keep // 2 :]


def _is_sheet(file: Path) -> bool:
    try:
        with Image.open(file) as picture:
            return picture.info.get("comment") == _COMMENT
    except (OSError, SyntaxError):
        return False
