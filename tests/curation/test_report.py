from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curation.report import photo_report
from curation.report_charts import distributions, funnel
from curation.report_rows import plain, view_photos
from data_manifests.media import write_media
from data_manifests.records import Box, Capture, Face, Photo, Point, Rights, Verdict
from tests.waiting import until

HOSTILE = (
    "\"'><img src=x onerror=alert(1)><script>window.hacked=1<!--\n{{7*7}}\u2028\u202egpj.exe"
    " \udce9\\.jpg"
)
FOLDER = "/x</script><script>window.hacked=2</script>"


def picture(media: Path, pixels: NDArray[np.uint8], kind: str = "proxies") -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return write_media(media, kind, buffer.getvalue(), ".jpg")[0]


def verdict(gate: str, value: float, threshold: float, *, keep: bool) -> Verdict:
    why = "" if keep else f"{gate} {value:g}, {threshold:g} asked for"
    return Verdict(gate=gate, value=value, threshold=threshold, keep=keep, reason=why)


def photo(number: int, sharpness: float = 50, **told: Any) -> Photo:
    said = (
        verdict("long_side", 9000, 8192, keep=True),
        verdict("sharpness", sharpness, 8, keep=sharpness >= 8),
    )
    reasons = tuple(v.gate for v in said if not v.keep)
    made = Photo(
        photo_id=f"{number:064x}",
        path=f"/shoot/IMG_{number:04d}.jpg",
        state="set_aside" if reasons else "kept",
        reasons=reasons,
        format="JPEG",
        size_bytes=1_000_000,
        width=1536,
        height=1536,
        bit_depth=8,
        verdicts=said,
    )
    return replace(made, **told)


def face(of: Photo) -> Face:
    box = Box(left=300, top=200, right=900, bottom=1000)
    points = ((450, 500), (750, 500), (600, 650), (500, 800), (700, 800))
    return Face(
        face_id=f"{of.photo_id}-0",
        photo_id=of.photo_id,
        index=0,
        box=box,
        landmarks=tuple(Point(x=x, y=y) for x, y in points),
        eye_distance=300,
        finder="yunet",
    )


def page_of(photos: Sequence[Photo], faces: Sequence[Face], media: Path) -> str:
    return "".join(photo_report(photos, faces, media=media))


def scripts(page: str, pattern: str) -> list[Any]:
    return [
        json.loads(text)
        for text in re.findall(
            rf'<script type="application/json" {pattern}>(.*?)</script>', page, re.DOTALL
        )
    ]


def test_the_page_stands_alone_and_tells_every_photo(
    tmp_path: Path, portrait: NDArray[np.uint8]
) -> None:
    good = photo(2, proxy_path=picture(tmp_path, portrait))
    soft = photo(1, sharpness=3)
    page = page_of([good, soft], [face(good)], tmp_path)
    rows = [row for some in scripts(page, 'class="rows"') for row in some]
    cards = [card for some in scripts(page, r'id="c\d+"') for card in some]
    assert [row[0] for row in rows] == ["IMG_0001.jpg", "IMG_0002.jpg"]
    assert cards[0]["thumb"] is None
    assert cards[0]["why"] == ["sharpness 3, 8 asked for"]
    assert cards[1]["thumb"].startswith("/9j/")
    assert cards[1]["faces"][0]["box"] == [300, 200, 900, 1000]
    assert len(cards[1]["faces"][0]["points"]) == 5
    assert "http://" not in page
    assert "https://" not in page


def test_the_thumbnail_is_taken_first_and_a_damaged_one_gives_way_to_the_proxy(
    tmp_path: Path, portrait: NDArray[np.uint8]
) -> None:
    proxy = picture(tmp_path, portrait)
    black = picture(tmp_path, np.zeros((240, 320, 3), np.uint8), "thumbs")
    broken = write_media(tmp_path, "thumbs", b"\xff\xd8\xff no picture", ".jpg")[0]
    rows = [
        photo(1, thumb_path=black, proxy_path=proxy),
        photo(2, thumb_path=broken, proxy_path=proxy),
        photo(3, thumb_path="thumbs/gone.jpg"),
    ]
    cards = [c for some in scripts(page_of(rows, [], tmp_path), r'id="c\d+"') for c in some]
    assert len(cards[0]["thumb"]) < len(cards[1]["thumb"]) / 2  # black packs well
    assert cards[1]["thumb"] is not None
    assert cards[2]["thumb"] is None


def test_texts_of_a_file_can_neither_end_a_script_nor_turn_the_line(tmp_path: Path) -> None:
    rights = Rights(creator=HOSTILE, usage_terms="</style><script>")
    rows = [
        photo(
            1, path=f"{FOLDER}/{HOSTILE}", photographer=HOSTILE, rights=rights, reasons=(HOSTILE,)
        )
    ]
    page = page_of(rows, [], tmp_path)
    scripts_made = len(re.findall(r"<script", page))
    assert scripts_made == len(re.findall(r"</script>", page)) == 4  # words, rows, ours, pictures
    assert "<img src=x" not in page
    assert "\u2028" not in page
    assert "\u202e" not in page
    assert page.encode()  # the lone surrogate of an odd file name is written out


def test_what_can_not_be_seen_is_written_out() -> None:
    assert plain("a\u202eb\n\udce9") == r"a\u202eb\n\udce9"
    assert plain("Zoë 日本.jpg") == "Zoë 日本.jpg"


def test_the_funnel_counts_each_photo_at_the_first_gate_that_refused_it() -> None:
    both = photo(
        3,
        verdicts=(
            verdict("long_side", 100, 8192, keep=False),
            verdict("sharpness", 1, 8, keep=False),
        ),
        reasons=("long_side", "sharpness"),
        state="set_aside",
    )
    broken = photo(4, state="quarantined", reasons=("truncated",), verdicts=())
    flagged = photo(5, state="set_aside", reasons=("rejected_by_photographer",))
    noise = verdict("noise", 1, 12, keep=True)
    clean = photo(1)
    clean = replace(clean, verdicts=(*clean.verdicts, noise))
    steps = funnel(view_photos([clean, photo(2, sharpness=2), both, broken, flagged], []))
    assert [(s.label, s.count, s.lost) for s in steps] == [
        ("found", 5, 0),
        ("readable", 4, 1),
        ("large enough", 3, 1),
        ("sharpness passed", 2, 1),
        ("rejected by photographer passed", 1, 1),
        ("1 more gate refused none", 1, 0),
        ("kept", 1, 0),
    ]
    assert steps[-2].note == "noise"


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [((5.0, 5.0), False), ((0.0, 0.0), False), ((1.0, 2.0, 900.0), True), ((-30.0, 4.0), False)],
)
def test_every_figure_falls_into_a_bin_and_thresholds_are_drawn(
    values: Sequence[float], logarithmic: bool
) -> None:
    rows = [photo(n, sharpness=v) for n, v in enumerate(values)]
    spread = {d.key: d for d in distributions(view_photos(rows, []))}["sharpness"]
    assert sum(b.count for b in spread.bars) == len(values)
    assert sum(b.kept for b in spread.bars) == sum(v >= 8 for v in values)
    assert min(b.low for b in spread.bars) <= min(values) <= max(values) <= spread.bars[-1].high
    assert [text.split()[0] for _, text in spread.marks] == ["8"]
    assert spread.logarithmic is logarithmic


def test_a_limit_off_the_scale_says_so() -> None:
    rows = [photo(n, sharpness=v) for n, v in enumerate((900.0, 901.0))]
    (spread,) = [d for d in distributions(view_photos(rows, [])) if d.key == "sharpness"]
    assert [text for _, text in spread.marks] == ["8 \N{LEFTWARDS ARROW}"]


def test_figures_that_are_no_numbers_do_not_break_the_page(tmp_path: Path) -> None:
    odd = Verdict(gate="noise", value=float("nan"), threshold=float("inf"), keep=True)
    page = page_of([photo(1, verdicts=(odd,))], [], tmp_path)
    assert scripts(page, 'id="c0"')[0][0]["verdicts"] == [["noise", None, None, True, ""]]


def test_an_empty_table_still_makes_a_page(tmp_path: Path) -> None:
    assert "0 photos" in page_of([], [], tmp_path)


@pytest.fixture
def opened(browser: Any, tmp_path: Path, portrait: NDArray[np.uint8]) -> Any:
    """A page of 400 photos in a real browser, from disk; it may say nothing on the console."""
    said: list[str] = []
    browser.on("console", lambda message: said.append(message.text))
    browser.on("pageerror", lambda error: said.append(str(error)))
    browser.on("request", lambda r: r.url.startswith(("file:", "data:")) or said.append(r.url))
    proxy = picture(tmp_path, portrait)
    rows = [
        photo(
            n,
            sharpness=n,
            proxy_path=proxy,
            capture=Capture(camera="Nikon Z 9" if n % 2 else "Leica SL3"),
            shot_id="shot-1" if n in {20, 21} else None,
            duplicate_group="burst-1" if n in {20, 22, 23} else None,
        )
        for n in range(400)
    ]
    rows[0] = replace(rows[0], path=f"{FOLDER}/{HOSTILE}", photographer=HOSTILE)
    target = tmp_path / "photos.html"
    target.write_text(page_of(rows, [face(r) for r in rows[1:]], tmp_path), encoding="utf-8")
    browser.goto(target.as_uri() + "#photos")
    browser.wait_for_selector("#grid .card")
    yield browser
    assert said == []


def shown_names(page: Any) -> list[str]:
    """Names on the cards in the document, in the order of the list."""
    return list(
        page.evaluate(
            "[...document.querySelectorAll('#grid .card')]"
            ".sort((a, b) => a.ariaPosInSet - b.ariaPosInSet)"
            ".map(card => card.querySelector('.name').textContent)"
        )
    )


def told(page: Any, text: str) -> None:
    until(page, "text => document.getElementById('told').textContent === text", text)


@pytest.mark.browser
def test_only_cards_in_view_are_in_the_document_up_to_the_last(opened: Any) -> None:
    assert len(shown_names(opened)) < 80
    opened.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    until(
        opened,
        "[...document.querySelectorAll('#grid .name')].some(n => n.textContent == 'IMG_0399.jpg')",
    )
    assert len(shown_names(opened)) < 80
    drawn = opened.evaluate(
        "[...document.querySelectorAll('#grid .card')].map(card => ({"
        " image: card.querySelector('img').naturalWidth, box: card.querySelector('.boxes')"
        ".getAttribute('d'), points: card.querySelector('.points').getAttribute('d') }))"
    )
    assert all(card["image"] == 200 for card in drawn)
    assert {card["box"] for card in drawn} == {"M300 200H900V1000H300Z"}
    assert all(card["points"].count("M") == 5 for card in drawn)


@pytest.mark.browser
def test_search_filters_and_sorting_find_the_photos(opened: Any) -> None:
    opened.fill("#search", "img_039")
    told(opened, "10 of 400 photos")
    assert shown_names(opened)[0] == "IMG_0390.jpg"
    opened.click("#clear")
    told(opened, "400 photos")
    opened.click(".reasons [data-reason=sharpness]")
    told(opened, "8 of 400 photos")
    assert opened.get_attribute(".reasons [data-reason=sharpness]", "aria-pressed") == "true"
    opened.click("#clear")
    opened.click("[data-state=set_aside]")
    told(opened, "392 of 400 photos")
    opened.select_option("select[data-category=camera]", "Nikon Z 9")
    told(opened, "196 of 400 photos")
    opened.select_option("#figure", "sharpness")
    opened.fill("#low", "100")
    opened.fill("#high", "103")
    told(opened, "2 of 400 photos")
    opened.click("#clear")
    opened.select_option("#sort", "sharpness")
    opened.click("#direction")
    until(
        opened,
        "document.querySelector('#grid [aria-posinset=\"1\"] .name').textContent == 'IMG_0399.jpg'",
    )
    opened.locator("svg.chart[aria-label^=sharpness] .bar").first.dispatch_event("click")
    until(opened, "document.getElementById('told').textContent.endsWith(' of 400 photos')")
    assert len(shown_names(opened)) >= 1


@pytest.mark.browser
def test_the_keyboard_reaches_and_opens_every_photo(opened: Any) -> None:
    opened.locator("#grid .open[tabindex='0']").focus()
    opened.keyboard.press("End")
    name = "document.activeElement.querySelector('.name').textContent"
    assert opened.evaluate(name) == "IMG_0399.jpg"
    opened.keyboard.press("Home")
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate("document.activeElement.dataset.place") == "1"
    opened.keyboard.press("Enter")
    assert opened.evaluate("document.getElementById('detail').open")
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate("document.getElementById('detail-name').textContent") == "IMG_0002.jpg"
    assert opened.locator("#detail-body tr.no").count() == 1
    opened.keyboard.press("Escape")
    # A dialog tells that it is closed in a task of its own, after the browser has set the focus.
    until(opened, "document.activeElement.dataset.place === '2'")


@pytest.mark.browser
def test_an_opened_photo_shows_its_shot_and_its_burst(opened: Any) -> None:
    opened.fill("#search", "img_0020")
    told(opened, "1 of 400 photos")
    opened.click("#grid .open")
    mates = opened.locator("#detail-body .mates button").evaluate_all(
        "all => all.map(b => b.title)"
    )
    assert mates == ["IMG_0021.jpg", "IMG_0022.jpg", "IMG_0023.jpg"]
    opened.locator("#detail-body .mates button").nth(1).click()
    assert opened.evaluate("document.getElementById('detail-name').textContent") == "IMG_0022.jpg"


@pytest.mark.browser
def test_a_hostile_name_is_shown_and_does_nothing(opened: Any) -> None:
    opened.fill("#search", "onerror")
    told(opened, "1 of 400 photos")
    opened.click("#grid .open")
    assert "<script>" in opened.evaluate("document.getElementById('detail-name').textContent")
    assert "</script>" in opened.evaluate("document.getElementById('detail-body').textContent")
    assert opened.evaluate("window.hacked === undefined")
    assert opened.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert opened.evaluate("document.title") == "Photos: 400"


@pytest.mark.browser
def test_a_narrow_screen_needs_no_sideways_scrolling_in_light_or_dark(opened: Any) -> None:
    opened.set_viewport_size({"width": 390, "height": 844})
    for scheme, expected in (("light", "rgb(250, 250, 248)"), ("dark", "rgb(19, 21, 23)")):
        opened.emulate_media(color_scheme=scheme)
        paper = "getComputedStyle(document.body).backgroundColor"
        until(opened, f"{paper} === {json.dumps(expected)}")
        assert opened.evaluate("document.documentElement.scrollWidth") <= 390
