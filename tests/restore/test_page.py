"""The before/after page, as text and in a real browser, opened from disk."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_manifests.records import Box
from restore.looking import Looked, Zoom
from restore.outcome import FaceReport, Outcome
from restore.page import ComparePage, fits_one_file

BLACK, WHITE = (np.full((600, 800, 3), v, np.uint8) for v in (0, 255))
FACE = FaceReport(
    index=0,
    box=Box(left=0, top=0, right=9, bottom=9),
    landmarks=(),
    score=1.0,
    status="restored",
    scale=0.25,
    matrix=(0.25, 0, 0, 0, 0.25, 0),
)


def outcome(name: str, status: str = "restored", **more: Any) -> Outcome:
    return Outcome(source=Path(name), target=Path(name), status=status, finder="x", **more)


def looked(*, after: bool = True) -> Looked:
    if not after:
        return Looked(BLACK, None)
    return Looked(BLACK, WHITE, (Zoom(FACE, BLACK[:256, :256], WHITE[:256, :256], 64),))


def page_of(file: Path, *pairs: tuple[Outcome, Looked | None], apart: bool = False) -> str:
    page = ComparePage(file, warning="Random weights & noise.", apart=apart)
    for one, shown in pairs:
        page.add(one, shown)
    assert page.close() == [file]
    return file.read_text()


def test_the_page_says_what_became_of_each_photo(tmp_path: Path) -> None:
    html = page_of(
        tmp_path / "page.html",
        (outcome("a.jpg", faces=(FACE,), resumed=True), looked()),
        (outcome("<b>.jpg", "nothing"), looked(after=False)),
        (outcome("c.jpg", "failed", problem="The JPEG is cut off."), None),
        (outcome("d.jpg", faces=(FACE,)), None),
        (outcome("e.jpg", "good", faces=(FACE,)), looked(after=False)),
    )
    assert "Random weights &amp; noise." in html
    assert "done before" in html
    assert "&lt;b&gt;.jpg" in html
    assert "No face was restored" in html
    assert "no face found by x" in html
    assert "The JPEG is cut off." in html
    assert "can no longer be read" in html
    assert "Every face is good already" in html
    assert "All 5" in html
    assert "Failed 1" in html


def test_many_pictures_lie_beside_the_page_and_old_ones_go(tmp_path: Path) -> None:
    file, folder = tmp_path / "ä page.html", tmp_path / "ä page-pictures"
    html = page_of(file, *[(outcome(f"{i}.jpg"), looked()) for i in range(3)], apart=True)
    assert "base64" not in html
    assert len(list(folder.iterdir())) == 12
    (folder / "mine.jpg").write_bytes(b"x")
    page_of(file, (outcome("0.jpg"), looked()), apart=True)
    assert sorted(p.name for p in folder.iterdir()) == [
        *(f"authface-{n:06d}.jpg" for n in range(1, 5)),
        "mine.jpg",
    ]


def test_a_page_of_many_photos_is_not_held_in_memory(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    many = [outcome(f"{i}.jpg", faces=(FACE,)) for i in range(40)]
    assert not fits_one_file(many)
    assert fits_one_file(many[:20])
    page = ComparePage(tmp_path / "page.html", apart=True)
    tracemalloc.start()
    for one in many:
        page.add(one, Looked(noise, noise))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    written = sum(p.stat().st_size for p in page.folder.iterdir())
    assert held < written / 20


@pytest.mark.browser
@pytest.mark.parametrize("apart", [False, True])
def test_the_slider_moves_by_key_and_mouse_and_shows_what_it_says(
    browser: Any, tmp_path: Path, apart: bool
) -> None:
    file = tmp_path / "a page.html"
    page_of(file, (outcome("a.jpg", faces=(FACE,)), looked()), apart=apart)
    faults = listen(browser)
    browser.goto(file.as_uri())
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
def test_a_face_is_looked_at_pixel_by_pixel_by_key_and_mouse(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    page_of(file, (outcome("a.jpg", faces=(FACE,)), looked()))
    faults = listen(browser)
    browser.goto(file.as_uri())
    opener = browser.get_by_role("button", name="Look closer: a.jpg, Face 0")
    opener.click()
    pair = browser.locator(".pair")
    assert lightness(browser, pair, 0.5) > 245
    browser.keyboard.press("b")
    assert lightness(browser, pair, 0.5) < 10
    assert pair.bounding_box()["width"] > 500
    browser.keyboard.press("1")
    assert pair.bounding_box()["width"] == 256
    assert "100 %" in browser.locator(".said").text_content()
    box = pair.bounding_box()
    browser.mouse.click(box["x"] + 100, box["y"] + 100)
    assert pair.bounding_box()["width"] > 500
    browser.keyboard.press("ArrowLeft")
    browser.wait_for_function("document.querySelector('.said').textContent.includes('Whole')")
    browser.keyboard.press("Escape")
    back = "document.activeElement.getAttribute('aria-label') === 'Look closer: a.jpg, Whole photo'"
    browser.wait_for_function(back)
    assert faults == []


@pytest.mark.browser
def test_photos_are_filtered_and_walked_through(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    states = ("restored", "nothing", "restored")
    page_of(file, *[(outcome(f"{i}.jpg", s), looked()) for i, s in enumerate(states)])
    browser.goto(file.as_uri())
    browser.get_by_role("button", name="Restored 2").click()
    assert browser.locator("section:visible").count() == 2
    name = "document.activeElement.dataset.name"
    for key, expected in (("n", "0.jpg"), ("n", "2.jpg"), ("n", "2.jpg"), ("p", "0.jpg")):
        browser.keyboard.press(key)
        assert browser.evaluate(name) == expected


@pytest.mark.browser
def test_the_page_fits_a_phone(browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    page_of(
        file,
        (outcome("a_long_name_" * 9 + ".jpg"), looked()),
        (outcome("b.jpg", "nothing"), looked(after=False)),
        (outcome("c.jpg", "failed", problem="x" * 200), None),
    )
    browser.set_viewport_size({"width": 360, "height": 700})
    browser.goto(file.as_uri())
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360


def listen(browser: Any) -> list[str]:
    """What goes wrong on the page, or is asked of a network."""
    faults: list[str] = []
    browser.on("console", lambda message: faults.append(message.text))
    browser.on("pageerror", lambda error: faults.append(str(error)))
    browser.on("request", lambda request: faults.extend(outside(request.url)))
    return faults


def outside(url: str) -> list[str]:
    return [] if url.startswith(("file:", "data:")) else [url]


def lightness(browser: Any, element: Any, across: float) -> float:
    """What the screen shows at a share of the element's width, away from handles and tags."""
    browser.wait_for_timeout(50)
    box = element.bounding_box()
    x, y = box["x"] + across * box["width"], box["y"] + box["height"] / 4
    spot = {"x": x, "y": y, "width": 4, "height": 4}
    shot = Image.open(io.BytesIO(browser.screenshot(clip=spot)))
    return float(np.asarray(shot.convert("L")).mean())
