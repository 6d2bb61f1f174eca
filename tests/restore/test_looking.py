"""What the page shows is made from the files on disk."""

from __future__ import annotations

import io
from dataclasses import replace

from PIL import Image

from curation.decode import read_photo
from restore.looking import page_entry, preview_of
from restore.photo import restore_photo


def test_the_preview_shows_the_whole_and_each_face(
    make_restorer, finder_of, marked, photo, tmp_path
) -> None:
    outcome = restore_photo(
        photo, tmp_path / "b.png", restorer=make_restorer(upscale=2), finder=finder_of(marked)
    )
    shown = preview_of(outcome, read_photo)
    assert shown is not None
    sizes = [Image.open(io.BytesIO(d)).size for d in (shown.before_jpeg, shown.after_jpeg)]
    assert sizes == [(512, 512), (1024, 1024)]
    ((before, after, label),) = shown.faces
    small, large = (Image.open(io.BytesIO(d)).size for d in (before, after))
    assert abs(small[0] / small[1] - large[0] / large[1]) < 0.02
    assert label.startswith("Face 0")


def test_a_picture_that_is_gone_costs_its_preview_only(
    make_restorer, finder_of, marked, photo, tmp_path
) -> None:
    outcome = restore_photo(
        photo, tmp_path / "b.png", restorer=make_restorer(), finder=finder_of(marked)
    )
    (tmp_path / "b.png").unlink()
    assert page_entry(outcome, read_photo).preview is None
    assert preview_of(replace(outcome, output_sha256=None), read_photo) is None
