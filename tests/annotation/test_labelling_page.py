"""What a photographer does: a real browser on the real server, by mouse and by key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from annotation.server import login_of
from data_manifests.media import write_media
from data_manifests.records import Photo, Task

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

pytestmark = [pytest.mark.studio, pytest.mark.browser]

AddPhotos = Callable[..., list[Photo]]
STRAY_KEYS = "mvbopeurhk"


@pytest.fixture
def page(desk: Desk, browser: Any) -> Any:
    """A page whose person has logged in."""
    login = login_of(desk.server.workspace)
    browser.goto(f"{desk.server.url}/user/login/")
    browser.fill("input[name=email]", login["email"])
    browser.fill("input[name=password]", login["password"])
    browser.click("button[type=submit]")
    browser.wait_for_url(lambda url: "login" not in url)
    return browser


def open_stream(page: Any, address: str) -> None:
    page.goto(f"{address}?labeling=1")
    page.wait_for_selector('button:has-text("Submit")')
    page.wait_for_selector('img[src^="blob:"]', state="attached")
    page.wait_for_function("window.Htx?.annotationStore?.selected?.names?.size > 0")
    page.wait_for_timeout(1000)


def submit(page: Any) -> dict[str, Any]:
    with page.expect_response(_is_answer) as reply:
        page.click('button:has-text("Submit")')
    return dict(reply.value.json())


def _is_answer(reply: Any) -> bool:
    return "/annotations" in reply.url and reply.request.method == "POST"


def test_a_photographer_rejects_by_key_and_the_pull_finds_it(
    desk: Desk, add_photos: AddPhotos, page: Any, tmp_path: Path
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    outside: list[str] = []
    page.on("request", lambda r: outside.append(r.url) if _is_outside(r.url, desk) else None)
    (project,) = desk.push().projects
    open_stream(page, project.url)
    page.screenshot(path=tmp_path / "triage.png")

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator('button:has-text("Submit")').bounding_box()["y"] < 900
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
    with page.expect_response(_is_answer):
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


def test_a_reviewer_sees_the_stitched_picture_and_approves(
    desk: Desk, page: Any, portrait: Any, tmp_path: Path
) -> None:
    path, size = _stitched(portrait, desk.media)
    waiting = Task(
        task_key="r1:review:1",
        photo_id="r1",
        kind="review",
        state="waiting",
        image_path=path,
        image_width=size[0],
        image_height=size[1],
        note="before, after, difference",
    )
    desk.store.upsert(Task, [waiting], why="test")
    (project,) = desk.push().projects
    open_stream(page, project.url)
    page.screenshot(path=tmp_path / "review.png")
    page.keyboard.press("a")
    submit(page)
    desk.pull()
    (row,) = desk.answers()
    assert (row.decision, row.state) == ("approve", "counted")


def _stitched(portrait: Any, media: Path) -> tuple[str, tuple[int, int]]:
    import io

    from PIL import Image, ImageChops, ImageFilter

    before = portrait.crop((110, 40, 240, 200)).resize((520, 640))
    after = before.filter(ImageFilter.GaussianBlur(2))
    stitched = Image.new("RGB", (1560, 640))
    for number, part in enumerate((before, after, ImageChops.difference(before, after))):
        stitched.paste(part, (520 * number, 0))
    encoded = io.BytesIO()
    stitched.save(encoded, "PNG")
    path, _ = write_media(media, "reviews", encoded.getvalue(), ".png")
    return path, stitched.size


def _is_outside(url: str, desk: Desk) -> bool:
    return not url.startswith((desk.server.url, "data:", "blob:"))
