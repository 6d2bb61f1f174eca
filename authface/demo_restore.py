"""The demo's degraded photo and its clean reference."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from authface.demo_photos import HELD_OUT, demo_exif, enlarge
from data_manifests.errors import InputError
from data_manifests.media import Workspace, write_atomic
from data_manifests.records import Photo
from data_manifests.store import Store
from training.degrade import degrade, preset

__all__ = ["make_degraded"]

SIDE = 1024  # px, long side of the photo to restore
SEED = 5


def make_degraded(root: Path) -> Iterator[Path]:
    """Write reference/ and degraded/ unless they are there; yields the paths."""
    name, pixels_HWC, exif = _source(root)
    reference, degraded = root / "reference" / name, root / "degraded" / name
    if not reference.exists():
        _write(reference, pixels_HWC, exif)
    if not degraded.exists():
        worse_HWC, _ = degrade(pixels_HWC, np.random.default_rng(SEED), preset("authface"))
        _write(degraded, worse_HWC, exif)
    yield from (reference, degraded)


def _source(root: Path) -> tuple[str, NDArray[np.uint8], Any]:
    """A held-out framing of the built-in portrait, or the first kept photo of the user's."""
    if (root / "originals").is_dir():
        return "portrait.jpg", enlarge(HELD_OUT, SIDE, seed=999), demo_exif(27)
    workspace = Workspace(root)
    kept = [p for p in Store(workspace.tables).read(Photo) if p.state == "kept" and p.proxy_path]
    if not kept:
        raise InputError(
            "No photo of the folder was kept, so there is nothing to restore.",
            "See `authface photos` for the reasons; lower the gates in authface.toml.",
        )
    photo = min(kept, key=lambda p: p.path)
    with Image.open(workspace.media / str(photo.proxy_path)) as proxy:
        proxy.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        pixels_HWC = np.asarray(proxy.convert("RGB"))
    return Path(photo.path).stem + ".jpg", pixels_HWC, _exif_of(Path(photo.path))


def _exif_of(original: Path) -> Any:
    try:
        with Image.open(original) as picture:
            exif = picture.getexif()
    except (OSError, SyntaxError):  # RAW and damaged metadata: the copy goes without
        return Image.Exif()
    exif.pop(0x0112, None)  # the proxy is upright already
    return exif


def _write(path: Path, pixels_HWC: NDArray[np.uint8], exif: Any) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, "JPEG", quality=95, exif=exif)
    write_atomic(path, buffer.getvalue())
