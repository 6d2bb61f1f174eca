"""The slider and its page, as text and in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from restore.compare import PageEntry, Preview, page_html, slider_css, slider_html, to_jpeg

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


def test_pictures_are_shrunk_and_never_enlarged() -> None:
    import io

    from PIL import Image

    sizes = [Image.open(io.BytesIO(to_jpeg(BLACK, most))).size for most in (100, 4000)]
    assert sizes == [(100, 75), (400, 300)]


def test_the_page_warns_and_says_where_nothing_was_restored() -> None:
    entries = [PageEntry(title="<a>.jpg", preview=None, facts=("no face found by x",))]
    html = page_html(entries, title="Restored", warning="Random weights & noise.")
    assert "Random weights &amp; noise." in html
    assert "&lt;a&gt;.jpg" in html
    assert "No face was restored" in html
    assert 'class="warn"' not in page_html(entries, title="Restored")


@pytest.mark.browser
def test_the_slider_moves_by_key_and_mouse_and_shows_what_it_says(
    browser: Any, tmp_path: Path
) -> None:
    before, after = pieces()
    shown = Preview(before_jpeg=before, after_jpeg=after, faces=((before, after, "Face 1"),))
    page = tmp_path / "page.html"
    page.write_text(page_html([PageEntry(title="a.jpg", preview=shown)], title="Restored"))
    faults: list[str] = []
    browser.on("console", lambda message: faults.append(message.text))
    browser.on("pageerror", lambda error: faults.append(str(error)))
    browser.goto(page.as_uri())
    slider = browser.get_by_label("Before and after: Whole photo")
    slider.focus()
    for _ in range(10):
        browser.keyboard.press("ArrowRight")
    assert slider.input_value() == "70"
    assert lightness(browser, slider, 0.6) < 10  # black, the before, left of the line
    assert lightness(browser, slider, 0.8) > 245
    box = slider.bounding_box()
    browser.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 3)
    assert abs(float(slider.input_value()) - 20) < 5
    assert lightness(browser, slider, 0.1) < 10
    assert lightness(browser, slider, 0.6) > 245
    assert faults == []


@pytest.mark.browser
def test_the_page_fits_a_phone(browser: Any, tmp_path: Path) -> None:
    before, after = pieces()
    shown = Preview(before_jpeg=before, after_jpeg=after)
    page = tmp_path / "page.html"
    entry = PageEntry(title="a_long_name_" * 9 + ".jpg", preview=shown)
    page.write_text(page_html([entry], title="Restored"))
    browser.set_viewport_size({"width": 360, "height": 700})
    browser.goto(page.as_uri())
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360


def lightness(browser: Any, slider: Any, across: float) -> float:
    """What the screen shows at a share of the slider's width, away from the handle and the tags."""
    import io

    from PIL import Image

    box = slider.bounding_box()
    x, y = box["x"] + across * box["width"], box["y"] + box["height"] / 4
    spot = {"x": x, "y": y, "width": 4, "height": 4}
    shot = Image.open(io.BytesIO(browser.screenshot(clip=spot)))
    return float(np.asarray(shot.convert("L")).mean())
