"""What a photographer does after triage: marks what to retouch, and reviews what came back."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageFilter

from annotation.answers import Asked, Reading, ServerTask, to_annotation
from annotation.projects import find_project
from annotation.questions import RETOUCH
from annotation.rules import broken
from annotation.tasks import retouch_tasks
from data_manifests.media import write_media
from data_manifests.records import Consensus, Photo, Task
from tests.annotation.pages import drag, open_stream, pick_label, seen_without_scrolling, submit

if TYPE_CHECKING:
    from tests.annotation.conftest import Desk

pytestmark = [pytest.mark.studio, pytest.mark.browser]

AddPhotos = Callable[..., list[Photo]]


def ask_to_retouch(desk: Desk, photo: Photo) -> str:
    """Sends the photo's retouch task; gives the address of the project."""
    agreed = Consensus(photo_id=photo.photo_id, decision="retouch", voters=1, conflict=False)
    (task,) = retouch_tasks([agreed], {photo.photo_id: photo}, {})
    desk.store.upsert(Task, [task], why="test")
    return next(p.url for p in desk.push().projects if p.kind == "retouch")


def test_a_photographer_marks_what_to_retouch_and_the_pull_finds_it(
    desk: Desk, add_photos: AddPhotos, page: Any, tmp_path: Path
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    open_stream(page, ask_to_retouch(desk, photo))
    page.screenshot(path=tmp_path / "retouch.png")
    assert seen_without_scrolling(page, "blemish", "over_smoothed", "Note for the retoucher")

    pick_label(page, "1", "retouch_area", "blemish", tool="RectangleTool")
    drag(page, (0.3, 0.3), (0.5, 0.4))
    page.click('button:has-text("Submit")')
    page.wait_for_selector("text=Each box needs a priority")
    page.locator('button:has-text("OK")').first.click()
    page.wait_for_selector("text=Each box needs a priority", state="detached")
    page.wait_for_selector("text=How much does this box matter?")  # the box is selected now
    page.keyboard.press("m")
    page.locator("textarea:visible").first.fill("soften, keep the pores")
    page.screenshot(path=tmp_path / "retouch-box.png")
    assert seen_without_scrolling(page, "Note on this box", "Note for the retoucher")
    submit(page)

    desk.pull()
    (row,) = desk.answers()
    (region,) = row.regions
    assert (row.state, region.label, region.origin) == ("counted", "blemish", "manual")
    assert (region.priority, region.note) == ("must_fix", "soften, keep the pores")
    assert region.box is not None
    found = (region.box.left, region.box.top, region.box.right, region.box.bottom)
    assert found == pytest.approx((0.3 * 3400, 0.3 * 5120, 0.5 * 3400, 0.4 * 5120), abs=60)
    (settled,) = desk.store.read(Consensus)
    assert settled.regions == row.regions  # where the checks of returned files look for it


def test_an_area_that_is_painted_becomes_a_mask_of_the_picture_shown(
    desk: Desk, add_photos: AddPhotos, page: Any, tmp_path: Path
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    open_stream(page, ask_to_retouch(desk, photo))
    pick_label(page, "7", "texture_mask", "skin_texture_keep", tool="BrushTool")
    drag(page, (0.3, 0.2), (0.6, 0.2))
    page.screenshot(path=tmp_path / "retouch-brush.png")
    submit(page)

    project = find_project(desk.studio, RETOUCH, desk.config)
    assert project is not None
    (listed,) = [ServerTask.model_validate(t) for t in desk.studio.tasks(project.id)]
    task = next(t for t in desk.store.read(Task) if t.kind == "retouch")
    reading = Reading(Asked(task, RETOUCH, photo.width, photo.height), listed.annotations[0])
    assert broken(reading) == ()
    made = to_annotation(
        reading,
        server="s",
        annotator="a",
        keep_mask=lambda png: write_media(tmp_path, "masks", png, ".png")[0],
    )
    (region,) = made.regions
    assert region.label == "skin_texture_keep"
    with Image.open(tmp_path / str(region.mask_path)) as picture:
        painted_y, painted_x = np.nonzero(np.asarray(picture.convert("L")))
        assert picture.size == (680, 1024)
    assert painted_x.min() == pytest.approx(0.3 * 680, abs=25)
    assert painted_x.max() == pytest.approx(0.6 * 680, abs=25)
    assert painted_y.mean() == pytest.approx(0.2 * 1024, abs=10)


def test_a_reviewer_sees_the_stitched_picture_and_sends_it_back(
    desk: Desk, add_photos: AddPhotos, page: Any, portrait: Any, tmp_path: Path
) -> None:
    (photo,) = add_photos(desk.store, desk.media)
    path, size = _stitched(portrait, desk.media)
    waiting = Task(
        task_key=f"{photo.photo_id}:review:1",
        photo_id=photo.photo_id,
        kind="review",
        state="waiting",
        image_path=path,
        image_width=size[0],
        image_height=size[1],
        note="before, after, difference",
    )
    desk.store.upsert(Task, [waiting], why="test")
    open_stream(page, next(p.url for p in desk.push().projects if p.kind == "review"))
    page.keyboard.press("t")
    page.wait_for_selector("text=What is wrong?")
    page.screenshot(path=tmp_path / "review.png")
    assert seen_without_scrolling(page, "What is wrong?", "Note", "The whole photo")
    shown = page.locator('img[src^="blob:"]').evaluate_all("all => all.map(i => i.naturalWidth)")
    assert sorted(shown) == [680, 1560]
    for key in ("6", "s", "s"):
        page.keyboard.press(key)
    submit(page)
    desk.pull()
    row = next(a for a in desk.answers() if a.decision)
    assert (row.decision, row.reasons, row.rating) == ("fix", ("over_smoothed",), 2)


def _stitched(portrait: Any, media: Path) -> tuple[str, tuple[int, int]]:
    before = portrait.crop((110, 40, 240, 200)).resize((520, 640))
    after = before.filter(ImageFilter.GaussianBlur(2))
    stitched = Image.new("RGB", (1560, 640))
    for number, part in enumerate((before, after, ImageChops.difference(before, after))):
        stitched.paste(part, (520 * number, 0))
    encoded = io.BytesIO()
    stitched.save(encoded, "PNG")
    path, _ = write_media(media, "reviews", encoded.getvalue(), ".png")
    return path, stitched.size
