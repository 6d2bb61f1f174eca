"""A restored face from sRGB to the colours of the photo it goes back into, at full precision.

States: sRGB -> linear light -> XYZ of D50 -> linear light of the photo's primaries -> its values.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.deep import open_vips

__all__ = ["to_photo_colours"]

Floats = NDArray[np.float64]

# Linear sRGB to XYZ, white (0.3127, 0.3290) adapted to the D50 of profiles. Source: IEC 61966-2-1,
# ICC.1:2022 annex E.
_SRGB_TO_XYZ = np.array(
    [
        [0.4360413, 0.3851129, 0.1430458],
        [0.2224845, 0.7169051, 0.0606104],
        [0.0139202, 0.0970672, 0.7139126],
    ]
)
_GRID: Floats = np.arange(65536) / 65535  # the values of 16 bits
_WAY = {"intent": "relative", "black_point_compensation": True, "pcs": "lab"}
_TABLES = (b"A2B0", b"B2A0", b"B2A1", b"D2B1", b"B2D1")


def to_photo_colours(face_HWC: NDArray[np.float32], icc: bytes | None) -> NDArray[np.float32]:
    """A face in sRGB as RGB of the profile `icc`, both float32 from 0 to 255.

    The way back of `curation.colour.to_srgb`: relative colorimetric with black point compensation.
    Profiles of primaries and curves (Display P3, Adobe RGB, ProPhoto) are worked out in floating
    point, others by littlecms in 16 bits; so a deep photo of a wide gamut shows no steps. Without a
    profile, or with one that can't be used, the face stays as it is: the photo was taken for sRGB.

    A model sees and makes sRGB only: what comes out lies within it, until the colour fix gives the
    photo's own colours back. With a profile, values beyond 0 to 255 are clipped.
    """
    if icc is None:
        return face_HWC
    shares_HWC = np.clip(face_HWC.astype(np.float64) / 255, 0, 1)
    profile = _parse(icc)
    if profile is None:
        return _by_table(face_HWC, shares_HWC, icc)
    linear_HWC = np.where(
        shares_HWC <= 0.04045, shares_HWC / 12.92, ((shares_HWC + 0.055) / 1.055) ** 2.4
    )
    linear_HWC = linear_HWC @ (np.linalg.inv(profile.to_xyz) @ _SRGB_TO_XYZ).T
    roots_HWC = np.sqrt(np.clip(linear_HWC, 0, 1)) * (len(_GRID) - 1)
    below_HWC = np.minimum(roots_HWC.astype(np.int32), len(_GRID) - 2)
    theirs_HWC = np.empty(face_HWC.shape, np.float32)
    for i, values in enumerate(profile.values):
        at, rest = below_HWC[..., i], roots_HWC[..., i] - below_HWC[..., i]
        theirs_HWC[..., i] = 255 * (values[at] + rest * (values[at + 1] - values[at]))
    return theirs_HWC


@dataclass(frozen=True, slots=True, eq=False)
class _Shaper:
    """A profile of three primaries and three curves: its values at the squares of `_GRID` as light.

    On the squares the steps are fine where curves are steep, and a place is found by its root.
    """

    to_xyz: Floats
    values: tuple[Floats, ...]


@lru_cache(maxsize=4)
def _parse(icc: bytes) -> _Shaper | None:
    """The profile if primaries and curves are all there is. Source: ICC.1:2022, 8.3 and 10."""
    if icc[16:24] != b"RGB XYZ ":
        return None
    try:
        tags = _tags(icc)
        if any(name in tags for name in _TABLES):
            return None
        columns = [_xyz(tags[b"%cXYZ" % colour]) for colour in b"rgb"]
        curves = tuple(_curve(tags[b"%cTRC" % colour]) for colour in b"rgb")
        to_xyz = np.array(columns).T
        sound = abs(np.linalg.det(to_xyz)) > 1e-6
    except (KeyError, ValueError, IndexError, struct.error):
        return None
    rising = all(np.isfinite(c).all() and (np.diff(c) >= 0).all() and c[-1] > c[0] for c in curves)
    if not (sound and rising):
        return None
    return _Shaper(to_xyz, tuple(np.interp(_GRID**2, curve, _GRID) for curve in curves))


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 200:
        raise ValueError("no profile has that many tags")
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * i) for i in range(count)]
    return {name: icc[start : start + size] for name, start, size in entries}


def _xyz(tag: bytes) -> Floats:
    return np.array(struct.unpack_from(">3i", tag, 8)) / 65536


def _curve(tag: bytes) -> Floats:
    """Linear light 0 to 1 of the values in `_GRID`."""
    if tag[:4] == b"para":
        return _formula(tag)
    if tag[:4] != b"curv":
        raise ValueError("a curve of another kind")
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return _GRID
    if count == 1:
        gamma: float = struct.unpack_from(">H", tag, 12)[0] / 256
        powers: Floats = np.power(_GRID, gamma)
        return powers
    points = np.frombuffer(tag, ">u2", count, 12) / 65535
    return np.asarray(np.interp(_GRID, np.linspace(0, 1, count), points), np.float64)


def _formula(tag: bytes) -> Floats:
    """A parametric curve. Source: ICC.1:2022, table 68."""
    kind = struct.unpack_from(">H", tag, 8)[0]
    count = (1, 3, 4, 5, 7)[kind]
    given = [v / 65536 for v in struct.unpack_from(f">{count}i", tag, 12)]
    gamma = given[0]
    a, b = given[1:3] or (1.0, 0.0)
    c = d = e = f = 0.0
    if kind in (1, 2):
        d = -b / a if a else 0.0
        e = f = given[3] if kind == 2 else 0.0
    elif kind in (3, 4):
        c, d = given[3:5]
        e, f = given[5:] or (0.0, 0.0)
    upper = np.maximum(a * _GRID + b, 0) ** gamma + e
    return np.clip(np.where(d <= _GRID, upper, c * _GRID + f), 0, 1)


def _by_table(face_HWC: NDArray[np.float32], shares_HWC: Floats, icc: bytes) -> NDArray[np.float32]:
    """The same through littlecms, for profiles of tables."""
    vips = open_vips()
    height, width = face_HWC.shape[:2]
    deep: Any = np.ascontiguousarray(np.rint(shares_HWC * 65535).astype(np.uint16))
    picture = vips.Image.new_from_memory(deep.data, width, height, 3, "ushort")
    try:
        seen = picture.copy(interpretation="rgb16").icc_import(input_profile="srgb", **_WAY).copy()
        seen.set_type(vips.GValue.blob_type, "icc-profile-data", icc)
        theirs: Any = seen.icc_export(depth=16, **_WAY).numpy()
    except vips.Error:  # to_srgb could not use the profile either
        return face_HWC
    if theirs.shape != face_HWC.shape:  # a profile of grey or ink on RGB pixels
        return face_HWC
    scaled: NDArray[np.float32] = theirs.astype(np.float32) / np.float32(257)
    return scaled
