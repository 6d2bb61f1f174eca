"""From sRGB to the photo's colours and back."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from PIL import ImageCms

from curation.colour import to_deep_srgb, to_srgb
from restore.gamut import to_photo_colours
from restore.photo import restore_photo

D50 = np.array([0.9642, 1.0, 0.8249])
# Primaries, white and gamma. Source: SMPTE EG 432-1, Adobe RGB (1998), ISO 22028-2.
SPACES = {
    "Display P3": (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.3127, 0.3290), 563 / 256),
    "Adobe RGB": (((0.640, 0.330), (0.210, 0.710), (0.150, 0.060)), (0.3127, 0.3290), 563 / 256),
    "ProPhoto": (
        ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)),
        (0.3457, 0.3585),
        461 / 256,
    ),
    "sRGB": (((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)), (0.3127, 0.3290), 563 / 256),
}
WIDE = ("Display P3", "Adobe RGB", "ProPhoto")
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def xyz(x: float, y: float) -> np.ndarray:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def place(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))


def to_d50(name: str) -> np.ndarray:
    """The matrix from linear RGB of a space to XYZ of D50."""
    primaries, white, _ = SPACES[name]
    columns = np.array([xyz(*p) for p in primaries]).T
    to_xyz = columns * np.linalg.solve(columns, xyz(*white))
    cone_w, cone_d = BRADFORD @ xyz(*white), BRADFORD @ D50
    return np.linalg.inv(BRADFORD) @ np.diag(cone_d / cone_w) @ BRADFORD @ to_xyz


def make_profile(name: str, curve: bytes = b"") -> bytes:
    """A matrix profile, with a plain gamma if no curve is given. Source: ICC.1:2001-04."""
    curve = curve or b"curv" + bytes(4) + struct.pack(
        ">IH", 1, round(SPACES[name][2] * 256)
    ) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name.encode() + bytes(79),
        b"wtpt": place(D50),
        **{b"%cXYZ" % c: place(v) for c, v in zip(b"rgb", to_d50(name).T, strict=True)},
        **{b"%cTRC" % c: curve for c in b"rgb"},
    }
    table, body, start = b"", b"", 132 + 12 * len(tags)
    for code, data in tags.items():
        table += code + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4sI4s4s4s", start + len(body), b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ "
    )
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + place(D50)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def colours() -> np.ndarray:
    """Random sRGB colours and a shallow ramp of skin, float32."""
    noise = np.random.default_rng(5).uniform(0, 255, (64, 96, 3))
    ramp = np.linspace(180, 190, 96)[None, :, None] * np.array([1, 0.8, 0.7])
    return np.concatenate([noise, np.repeat(ramp, 16, axis=0)]).astype(np.float32)


def stored(name: str) -> np.ndarray:
    """The matrix with the 16 bits behind the point that a profile has."""
    return np.round(to_d50(name) * 65536) / 65536


def by_formula(name: str, srgb: np.ndarray) -> np.ndarray:
    """sRGB from 0 to 255 as a space's values from 0 to 1."""
    shares = srgb.astype(np.float64) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    matrix = np.linalg.inv(stored(name)) @ to_d50("sRGB")
    return np.clip(linear @ matrix.T, 0, 1) ** (1 / SPACES[name][2])


def back_by_formula(name: str, shares: np.ndarray) -> np.ndarray:
    matrix = np.linalg.inv(to_d50("sRGB")) @ stored(name)
    linear = np.clip(shares ** SPACES[name][2] @ matrix.T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("name", WIDE)
def test_there_and_back_again_within_half_a_step_at_16_bits(name: str) -> None:
    face, icc = colours(), make_profile(name)
    theirs = to_photo_colours(face, icc)
    assert np.abs(theirs - face).max() > 10  # it did something
    assert np.abs(theirs / 255 - by_formula(name, face)).max() < 0.0001
    deep = np.rint(theirs * 257).astype(np.uint16)
    assert np.abs(back_by_formula(name, deep / 65535) - face).max() < 0.5


@pytest.mark.parametrize("name", WIDE)
def test_deep_photos_become_srgb_as_the_formula_says(name: str) -> None:
    """Saturated colours too: libvips' shortest way is off by up to 23."""
    photo = np.rint(by_formula(name, colours()) * 65535).astype(np.uint16)
    error = np.abs(to_deep_srgb(photo, make_profile(name)) / 257 - colours())
    assert error.max() < 2.5
    assert error.mean() < 0.15


@pytest.mark.parametrize("name", WIDE)
def test_the_way_back_undoes_the_way_out(name: str) -> None:
    """Photo to sRGB as the restoration takes it, and the face back into the photo."""
    icc = make_profile(name)
    face = colours()[-16:]  # skin
    photo = np.rint(by_formula(name, face) * 65535).astype(np.uint16)
    again = to_photo_colours(to_deep_srgb(photo, icc).astype(np.float32) / 257, icc)
    assert np.abs(again - photo / 257).max() < 0.3
    again = to_photo_colours(to_srgb(photo, icc).astype(np.float32), icc)
    assert np.abs(again - photo / 257).max() < 1.2


@pytest.mark.parametrize("kind", ["para", "table"])
def test_curves_of_every_kind_are_followed(kind: str) -> None:
    """Display P3 as phones write it: sRGB's curve, by formula or in a table."""
    if kind == "para":
        values = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        curve = b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *(round(v * 65536) for v in values))
    else:
        grid = np.linspace(0, 1, 1024)
        linear = np.where(grid <= 0.04045, grid / 12.92, ((grid + 0.055) / 1.055) ** 2.4)
        curve = b"curv" + bytes(4) + struct.pack(">I", 1024)
        curve += np.rint(linear * 65535).astype(">u2").tobytes()
    theirs = to_photo_colours(colours(), make_profile("Display P3", curve))
    linear = np.maximum(by_formula("Display P3", colours()), 0) ** (563 / 256)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(theirs - 255 * expected).max() < 0.1


def test_a_shallow_ramp_has_more_than_eight_bits_of_steps() -> None:
    ramp = colours()[-1:]
    theirs = np.rint(to_photo_colours(ramp, make_profile("ProPhoto")) * 257).astype(int)
    assert len(np.unique(theirs[0, :, 0])) > 80  # 8 bits would have 8
    assert (np.diff(theirs[0, :, 0]) >= 0).all()


def test_without_a_usable_profile_the_face_stays_as_it_is() -> None:
    face = colours()
    grey = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for icc in (None, b"no profile", make_profile("Adobe RGB")[:200], grey):
        assert np.array_equal(to_photo_colours(face, icc), face)


def test_values_beyond_the_range_are_clipped() -> None:
    face = np.array([[[-20, 128, 300]]], np.float32)
    theirs = to_photo_colours(face, make_profile("Adobe RGB"))
    assert theirs.min() >= 0
    assert theirs.max() <= 255


def test_a_profile_of_srgb_changes_next_to_nothing() -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(to_photo_colours(colours(), icc) - colours()).max() < 0.3


def test_a_profile_of_tables_goes_through_littlecms() -> None:
    """sRGB's own profile made to look like one of tables: the other way, the same colours."""
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tables = icc.replace(b"chrm", b"D2B1", 1)
    theirs = to_photo_colours(colours(), tables)
    assert not np.array_equal(theirs, to_photo_colours(colours(), icc))
    assert np.abs(theirs - colours()).mean() < 0.1


@pytest.mark.parametrize("colour", ["wavelet", "adain"])
def test_a_restored_face_keeps_colours_that_srgb_has_not(
    make_restorer, mtcnn, aligned_face, tmp_path, colour
) -> None:
    """The model sees and makes sRGB; the colour fix gives the photo's own back."""
    icc = make_profile("ProPhoto")
    # A face under a green lamp, most of it outside sRGB.
    lit = np.stack([aligned_face[..., 1] * share for share in (0.3, 0.85, 0.2)], axis=2) / 255
    photo = tmp_path / "a.tif"
    tifffile.imwrite(photo, np.rint(lit * 65535).astype(np.uint16), iccprofile=icc)
    restorer = make_restorer(aligned=True, colour=colour, improve_good=True)
    restore_photo(photo, tmp_path / "b.tif", restorer=restorer, finder=mtcnn)
    after = tifffile.imread(tmp_path / "b.tif") / 65535
    seen = to_photo_colours(to_srgb(tifffile.imread(photo), icc).astype(np.float32), icc) / 255
    lost = np.abs(seen.mean(axis=(0, 1)) - lit.mean(axis=(0, 1))).max()
    assert lost > 0.03  # sRGB has not got them
    assert np.abs(after.mean(axis=(0, 1)) - lit.mean(axis=(0, 1))).max() < lost / 5
