"""A contact sheet in a real browser: filled in, saved without a network, and read again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from annotation.csv_answers import read_rows, short_ids, to_answer
from annotation.questions import TRIAGE
from annotation.sheets import html_page
from data_manifests.records import Annotation, Photo
from data_manifests.store import Store

pytestmark = pytest.mark.browser


def fill_in(page: Any) -> None:
    first, second = (page.locator("form.photo").nth(n) for n in (0, 1))
    first.get_by_label("reject", exact=True).check()
    assert "1 incomplete" in page.locator("#told").inner_text()
    first.get_by_label("noise", exact=True).check()
    second.get_by_label("reject", exact=True).check()
    second.get_by_label("reject", exact=True).click()
    second.get_by_label("accept", exact=True).check()
    second.locator("textarea[name=caption]").fill('=SUM(1), "so to say"')
    assert page.locator("#told").inner_text() == "2 of 2 answered"
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_what_is_ticked_on_the_page_comes_back_as_answers(
    tmp_path: Path, add_photos: Callable[..., list[Photo]]
) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("Chromium is not installed")
    made = add_photos(Store(tmp_path / "t"), tmp_path, 2)
    short = short_ids(p.photo_id for p in made)
    page_file, saved = tmp_path / "sheet.html", tmp_path / "saved.csv"
    page_file.write_text(html_page(made, media=tmp_path, short=short, place=(1, 1)))
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(page_file.as_uri())
        fill_in(page)
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(saved)
        browser.close()
    assert said == []
    ids = [p.photo_id for p in made]
    told = [
        to_answer(
            row,
            find=lambda digits: [i for i in ids if i.startswith(digits)],
            who="p",
            at=datetime(2026, 3, 1, tzinfo=UTC),
        )
        for row in read_rows(saved.read_bytes())
    ]
    answers = [a for a in told if isinstance(a, Annotation)]
    assert {r.cells["form"] for r in read_rows(saved.read_bytes())} == {TRIAGE.version}
    assert [(a.decision, a.reasons) for a in answers] == [("reject", ("noise",)), ("accept", ())]
    assert answers[1].caption == '=SUM(1), "so to say"'
