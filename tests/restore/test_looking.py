"""What there is to look at is made from the files on disk."""

from __future__ import annotations

from dataclasses import replace

from curation.decode import read_photo
from restore.looking import look_at
from restore.photo import restore_photo


def test_the_whole_and_each_face_are_shown_as_large_as_they_are(
    make_restorer, finder_of, marked, photo, tmp_path
) -> None:
    outcome = restore_photo(
        photo, tmp_path / "b.png", restorer=make_restorer(upscale=2), finder=finder_of(marked)
    )
    looked = look_at(outcome, read_photo)
    assert looked is not None
    assert looked.before_HWC.shape == (512, 512, 3)
    assert looked.after_HWC is not None
    assert looked.after_HWC.shape == (1024, 1024, 3)
    (zoom,) = looked.zooms
    small, large = zoom.before_HWC.shape, zoom.after_HWC.shape
    assert large[:2] == (2 * small[0], 2 * small[1])
    assert zoom.label.startswith("Face 0: ")
    assert zoom.label.endswith("restored at 64")


def test_pictures_that_are_gone_or_never_were_cost_themselves_only(
    make_restorer, finder_of, marked, photo, tmp_path
) -> None:
    outcome = restore_photo(
        photo, tmp_path / "b.png", restorer=make_restorer(), finder=finder_of(marked)
    )
    nothing = look_at(replace(outcome, status="nothing", output_sha256=None), read_photo)
    assert nothing is not None
    assert nothing.after_HWC is None
    assert nothing.zooms == ()
    (tmp_path / "b.png").unlink()
    assert look_at(outcome, read_photo) is None
    assert look_at(replace(outcome, status="failed"), read_photo) is None
