"""What a photographer does: a real browser on the real server, by mouse and by key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from data_manifests.records import Photo
from tests.annotation.pages import is_answer, open_stream, seen_without_scrolling, submit

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

pytestmark = [pytest.mark.studio, pytest.mark.browser]

AddPhotos = Callable[..., list[Photo]]
STRAY_KEYS = "mvbopeurhk"


def test_a_photographer_rejects_by_key_and_the_pull_finds_it(
    desk: Desk, add_photos: AddPhotos, page: Any, tmp_path: Path
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    outside: list[str] = []
    page.on("request", lambda r: outside.append(r.url) if _is_outside(r.url, desk) else None)
    (project,) = desk.push().projects
    open_stream(page, project.url)
    page.screenshot(path=tmp_path / "triage.png")

    assert seen_without_scrolling(page, "Decision", "Caption", "subject_face", "mouth_right")
    for label in ("subject_face", "left_eye", "mouth_right"):
        assert page.locator(f'.lsf-outliner >> text="{label}"').count() >= 1

    page.keyboard.press("x")
    page.click('button:has-text("Submit")')
    page.wait_for_selector("text=A reject needs at least one reason")
    page.locator('button:has-text("OK")').first.click()
    page.wait_for_selector("text=A reject needs at least one reason", state="detached")
    for key in ("6", "s", "s", "s"):
        page.keyboard.press(key)
    submit(page)

    desk.pull()
    (row,) = desk.answers()
    assert (row.decision, row.reasons, row.rating) == ("reject", ("soft_focus",), 3)
    assert row.semantic_tags == ("shot/shoulders_up",)
    assert row.photographic_tags == ("view/frontal_view", "focal_length/short_telephoto")
    assert row.caption == "shoulders up, frontal view, short telephoto"
    assert {r.origin for r in row.regions} == {"prediction"}
    box = next(r.box for r in row.regions if r.box)
    assert (box.left, box.bottom) == pytest.approx((1180, 1900), abs=1)
    assert desk.settled(photo).decision == "reject"
    assert outside == []


def test_another_reason_asks_for_its_words(
    desk: Desk, add_photos: AddPhotos, page: Any, tmp_path: Path
) -> None:
    add_photos(desk.store, desk.media)
    (project,) = desk.push().projects
    open_stream(page, project.url)
    page.keyboard.press("x")
    page.keyboard.press("l")
    page.click('button:has-text("Submit")')
    page.wait_for_selector("text=Say which other reason")
    page.locator('button:has-text("OK")').first.click()
    page.wait_for_selector("text=Say which other reason", state="detached")
    page.fill('textarea[name="reject_other"]', "a strap over the chin")
    page.screenshot(path=tmp_path / "other.png")
    assert seen_without_scrolling(page, "Which other reason?")
    submit(page)
    desk.pull()
    (row,) = desk.answers()
    assert (row.reasons, row.note) == (("other",), "a strap over the chin")


def test_a_stray_key_answers_no_question(desk: Desk, add_photos: AddPhotos, page: Any) -> None:
    add_photos(desk.store, desk.media)
    (project,) = desk.push().projects
    open_stream(page, project.url)
    page.keyboard.press("a")
    for key in STRAY_KEYS:
        page.keyboard.press(key)
    asked = {item["from_name"] for item in submit(page)["result"]}
    assert asked == {"decision", "caption", "shot", "view", "focal_length", "face_box", "landmark"}


def test_a_skip_in_the_browser_is_a_skip_in_the_tables(
    desk: Desk, add_photos: AddPhotos, page: Any
) -> None:
    add_photos(desk.store, desk.media)
    (project,) = desk.push().projects
    open_stream(page, project.url)
    page.keyboard.press("a")
    with page.expect_response(is_answer):
        page.click('button:has-text("Skip")')
    pulled = desk.pull()
    assert (pulled.skipped, pulled.labelled) == (1, 0)
    (row,) = desk.answers()
    assert (row.state, row.cancelled, row.decision) == ("skipped", True, None)


def test_a_tag_is_picked_from_its_list(desk: Desk, add_photos: AddPhotos, page: Any) -> None:
    add_photos(desk.store, desk.media)
    (project,) = desk.push().projects
    open_stream(page, project.url)
    page.keyboard.press("t")
    # The first list that no suggestion has filled is the gender's.
    page.locator('[data-testid="select-trigger"]:visible').first.click()
    page.locator('[data-testid="choiceOptionText"]:text-is("woman"):visible').click()
    submit(page)
    desk.pull()
    (row,) = desk.answers()
    assert (row.decision, "gender/woman" in row.semantic_tags) == ("retouch", True)


def _is_outside(url: str, desk: Desk) -> bool:
    return not url.startswith((desk.server.url, "data:", "blob:"))
