"""A grid of pictures as one PNG that says what it is, with a file beside it that says of whom."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from data_manifests.media import write_atomic
from restore.provenance import Carried, creator_tool, xmp_packet

__all__ = ["FOLDER", "SIDECAR", "TINY", "Grid", "draw_grid", "grid_files", "write_grid"]

FOLDER = "grids"  # of a run
SIDECAR = ".authface.json"  # as beside a restored photo, so that an erasure finds both
TINY = "tiny random base: this shows that every step runs, not what a face looks like"

Pixels = NDArray[np.uint8]

_PAPER, _INK, _SOFT, _WARN = "#fafaf8", "#1b1d20", "#5d636b", "#9a3412"
_LEAST, _MOST = 192, 384  # px: side of a cell
_GAP, _TEXT = 8, 22  # px: between cells, height of a line


@dataclass(frozen=True, slots=True)
class Grid:
    """Pictures in rows, one for each sample; a picture that could not be made is None."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Pixels | None, ...], ...]
    samples: tuple[str, ...]  # whose rows they are
    facts: dict[str, Any]  # how the pictures were made
    wholly_made: bool = False  # whether the model made them from words alone


def draw_grid(grid: Grid, *, title: str, note: str = "") -> Image.Image:
    """The grid under its title, a note and its columns' heads; cells are 192 to 384 px wide."""
    size = max((p.shape[0] for row in grid.rows for p in row if p is not None), default=64)
    cell = min(max(size, _LEAST), _MOST)
    width = _GAP + len(grid.heads) * (cell + _GAP)
    told = _lines(note, width - 2 * _GAP)
    lines = 2 + len(told)
    height = _GAP + lines * _TEXT + len(grid.rows) * (cell + _GAP)
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((_GAP, _GAP), title, _INK, ImageFont.load_default(15))
    for number, line in enumerate(told, 1):
        draw.text((_GAP, _GAP + number * _TEXT), line, _WARN, ImageFont.load_default(13))
    for column, head in enumerate(grid.heads):
        place = (_GAP + column * (cell + _GAP), _GAP + (lines - 1) * _TEXT)
        draw.text(place, head, _SOFT, ImageFont.load_default(13))
    for number, row in enumerate(grid.rows):
        for column, pixels in enumerate(row):
            left = _GAP + column * (cell + _GAP)
            top = _GAP + lines * _TEXT + number * (cell + _GAP)
            image.paste(_cell(pixels, cell), (left, top))
    return image


def write_grid(folder: Path, step: int, grid: Grid, image: Image.Image) -> Path:
    """Write grids/step-NNNNNN.png below a run's folder, and beside it how and of whom it is made.

    The picture is marked in XMP as made by a model, in the words of IPTC.
    """
    file = folder / FOLDER / f"step-{step:06d}.png"
    file.parent.mkdir(exist_ok=True)
    told = {"made_by": creator_tool(), "step": step, "samples": list(grid.samples), **grid.facts}
    beside = file.with_name(file.name + SIDECAR)
    # First what an erasure looks for: a picture is never there without it.
    write_atomic(beside, (json.dumps(told, indent=2) + "\n").encode())
    marks = PngInfo()
    made = Carried(source_type="trainedAlgorithmicMedia") if grid.wholly_made else Carried()
    marks.add_itxt("XML:com.adobe.xmp", xmp_packet(made).decode())
    data = io.BytesIO()
    image.save(data, "PNG", pnginfo=marks)
    write_atomic(file, data.getvalue())
    return file


def grid_files(folder: Path) -> list[tuple[int, Path]]:
    """(step, picture) of a run's grids, the first step first."""
    files = (folder / FOLDER).glob("step-*.png")
    return sorted((int(p.stem.removeprefix("step-")), p) for p in files)


def _cell(pixels: Pixels | None, side: int) -> Image.Image:
    if pixels is None:
        blank = Image.new("RGB", (side, side), "#dcdfe3")
        draw = ImageDraw.Draw(blank)
        draw.text((_GAP, side // 2), "not made", _SOFT, ImageFont.load_default(13))
        return blank
    picture = Image.fromarray(pixels)
    # A small picture is shown as it is, cell by cell: smoothing would invent what is not there.
    how = Image.Resampling.NEAREST if picture.width < side else Image.Resampling.LANCZOS
    return picture.resize((side, side), how)


def _lines(note: str, width: int) -> list[str]:
    """The note in lines no longer than the picture is wide, unless a single word is."""
    font = ImageFont.load_default(13)
    lines: list[str] = []
    for word in note.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
