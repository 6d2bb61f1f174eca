"""The slider, as text."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from restore.compare import slider_css, slider_html, to_jpeg

BLACK, WHITE = (np.full((300, 400, 3), v, np.uint8) for v in (0, 255))


def pieces() -> tuple[bytes, bytes]:
    return to_jpeg(BLACK, 400), to_jpeg(WHITE, 400)


def test_a_label_can_not_break_out_of_the_piece() -> None:
    html = slider_html(*pieces(), label='"><script>alert(1)</script>')
    assert "<script" not in html
    assert "&quot;&gt;&lt;script&gt;" in html


def test_a_piece_needs_nothing_from_outside() -> None:
    html = slider_html(*pieces(), label="x") + slider_css()
    assert "http" not in html
    assert html.count("data:image/jpeg;base64,") == 2


def test_a_piece_can_keep_its_pictures_elsewhere() -> None:
    kept: list[bytes] = []

    def keep(jpeg: bytes) -> str:
        kept.append(jpeg)
        return f'a"{len(kept)}.jpg'

    html = slider_html(*pieces(), label="x", keep=keep)
    assert sorted(kept) == sorted(pieces())
    assert 'src="a&quot;1.jpg"' in html
    assert "base64" not in html


def test_pictures_are_shrunk_and_never_enlarged() -> None:
    sizes = [Image.open(io.BytesIO(to_jpeg(BLACK, most))).size for most in (100, 4000)]
    assert sizes == [(100, 75), (400, 300)]


def test_a_picture_made_by_a_model_says_so() -> None:
    said = [
        Image.open(io.BytesIO(to_jpeg(BLACK, 100, made=made))).info.get("xmp", b"")
        for made in (True, False)
    ]
    assert b"compositeWithTrainedAlgorithmicMedia" in said[0]
    assert said[1] == b""
