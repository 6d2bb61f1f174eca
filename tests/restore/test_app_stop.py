"""What runs on the web page can be stopped, in a real browser; and what is said meanwhile."""

from __future__ import annotations

import gc
import re
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curation.config import FacesConfig
from curation.faces import open_finder
from tests.waiting import until

pytest.importorskip("gradio", reason="the extra `app` is not installed")

from restore.app import serving
from restore.app_desk import Asked, Desk
from restore.app_folder import AppFolder
from restore.app_watch import Pace, Progress, Runs, StoppedError
from restore.app_words import progress_words

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Gradio leaves event loops open,
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),  # and knows pandas 3
]

STEPS = 600  # with the rest after each, many more than the browser needs to press a button
REST_S = 0.02


@dataclass(frozen=True)
class Site:
    address: str
    desk: Desk

    def results(self) -> list[str]:
        """The names of the photos that were written, and not of those that were begun."""
        return sorted(p.name for p in self.desk.folder.path.glob("work-*/out/*.png"))

    def forget(self) -> None:
        for path in self.desk.folder.path.glob("work-*/out/*"):
            path.unlink()


@pytest.fixture(scope="module")
def site(make_restorer, free_port, tmp_path_factory: Any) -> Iterator[Site]:
    """A page whose restorations take long, unless fewer steps are asked for."""
    restorer = make_restorer(steps=STEPS)
    # All tests share the U-Net; a tiny one is done before Stop is found.
    resting = restorer._pipe.unet.register_forward_hook(lambda *_: time.sleep(REST_S))
    with (
        AppFolder(tmp_path_factory.mktemp("stop")) as folder,
        Desk(restorer, open_finder(FacesConfig()), folder) as desk,
        serving(desk, port=free_port()) as address,
    ):
        yield Site(address, desk)
    resting.remove()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()  # what Gradio leaves open is closed here, and not in somebody else's test


@pytest.fixture
def page(browser: Any, site: Site) -> Any:
    site.forget()
    return opened(browser, site)


def opened(page: Any, site: Site) -> Any:
    page.goto(site.address)
    page.get_by_text("A restored face is a guess.").wait_for()
    return page


def copy_of(photo: Path, folder: Path, name: str) -> Path:
    file = folder / name
    with Image.open(photo) as picture:
        picture.save(file)
    return file


def upload(page: Any, photo: Path) -> None:
    page.set_input_files("input[type=file]", photo)
    page.get_by_text("1 face was found.").wait_for()


def begin(page: Any, photo: Path) -> None:
    """Restore a photo, and wait until the model works."""
    upload(page, photo)
    button(page, "Restore").click()
    page.get_by_text(re.compile(r"Restoring 1 face, about .* left")).wait_for()


def finish(page: Any) -> None:
    """Restore the photo that is there in few steps."""
    page.get_by_text("Settings", exact=True).click()
    steps = page.get_by_label("number input for Steps")
    steps.wait_for()
    page.wait_for_timeout(500)  # the settings are filled in when they open
    steps.fill("2")
    page.keyboard.press("Tab")
    page.wait_for_timeout(300)  # Gradio takes over what was typed when typing rests
    button(page, "Restore").click()
    page.get_by_text("1 of 1 picked faces restored. Seed 0, fidelity 0, 2 steps.").wait_for()


def button(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


@pytest.mark.browser
def test_stop_ends_the_restoration_and_leaves_nothing(page: Any, site: Site, photo: Path) -> None:
    begin(page, photo)
    assert button(page, "Restore").is_disabled()
    button(page, "Stop").click()
    page.get_by_text("Stopped. Nothing was kept.").wait_for()
    assert button(page, "Stop").is_hidden()
    finish(page)  # the next one waits for the end of the one before
    assert site.results() == [photo.name]


@pytest.mark.browser
def test_another_photo_ends_what_runs_for_the_one_before(
    page: Any, site: Site, photo: Path, tmp_path: Path
) -> None:
    begin(page, photo)
    page.get_by_label("Clear").click()
    button(page, "Stop").wait_for(state="hidden")
    upload(page, copy_of(photo, tmp_path, "second.png"))
    finish(page)
    assert site.results() == ["second.png"]


@pytest.mark.browser
def test_closing_the_page_ends_what_runs_for_it(
    page: Any, site: Site, photo: Path, tmp_path: Path
) -> None:
    other = opened(page.context.new_page(), site)
    upload(other, copy_of(photo, tmp_path, "other.png"))
    begin(page, photo)
    page.close()
    finish(other)
    assert site.results() == ["other.png"]


@pytest.mark.browser
def test_a_restoration_that_waits_for_another_is_stopped_at_once(
    page: Any, site: Site, photo: Path, tmp_path: Path
) -> None:
    begin(page, photo)
    other = opened(page.context.new_page(), site)
    upload(other, copy_of(photo, tmp_path, "other.png"))
    button(other, "Restore").click()
    button(other, "Stop").click()
    other.get_by_text("Stopped. Nothing was kept.").wait_for()
    page.bring_to_front()
    assert button(page, "Stop").is_visible()  # nobody else's run is touched
    button(page, "Stop").click()
    page.get_by_text("Stopped. Nothing was kept.").wait_for()
    finish(page)
    assert site.results() == [photo.name]


@pytest.mark.browser
def test_progress_and_stop_are_in_view_where_the_settings_are_long(page: Any, photo: Path) -> None:
    page.set_viewport_size({"width": 1280, "height": 500})
    page.set_input_files("input[type=file]", photo)
    page.get_by_text("1 face was found.").wait_for()
    page.get_by_text("Settings", exact=True).click()
    button(page, "Restore").click()
    button(page, "Stop").wait_for()
    box = button(page, "Stop").bounding_box()
    assert 0 <= box["y"] <= 500 - box["height"]
    button(page, "Stop").click()


@pytest.mark.browser
def test_pictures_fill_the_window_where_that_is_asked_for(page: Any, photo: Path) -> None:
    page.set_input_files("input[type=file]", photo)
    page.get_by_text("1 face was found.").wait_for()
    finish(page)
    for picture, part in (("#af-faces img", "first"), ("#af-result .slider-wrap img", "last")):
        full = page.get_by_role("button", name="Fullscreen")
        getattr(full, part).click()
        until(page, f"document.querySelector('{picture}').getBoundingClientRect().height > 800")
        others = """[[0.3, 0.3], [0.5, 0.5], [0.7, 0.7], [0.3, 0.7]].map(([x, y]) =>
            document.elementFromPoint(innerWidth * x, innerHeight * y)
        ).filter(e => !e.closest('.fullscreen')).length"""
        until(page, f"{others} === 0")  # nothing of the rest of the page lies on it
        page.get_by_role("button", name="Exit").first.click()


@pytest.mark.browser
def test_words_of_the_table_are_not_broken(page: Any, photo: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    page.set_input_files("input[type=file]", photo)
    page.get_by_text("1 face was found.").wait_for()
    finish(page)
    for cell in ("face", "status"):
        box = page.get_by_role("columnheader", name=cell, exact=True).bounding_box()
        assert box["height"] < 45, cell
    assert page.get_by_role("cell", name="restored", exact=True).bounding_box()["width"] > 50


def test_what_tell_raises_ends_the_work_at_that_step(site: Site, photo: Path) -> None:
    site.forget()
    seen: list[Progress] = []

    def tell(now: Progress) -> None:
        seen.append(now)
        if len(seen) == 20:
            raise StoppedError("Stopped.")

    before = set(site.desk.folder.path.iterdir())
    asked = Asked("all", 0.0, 0, STEPS, 1, "wavelet")
    with pytest.raises(StoppedError):
        site.desk.restore(photo, asked, tell)
    assert len(seen) == 20
    assert seen[-1].share < 20 / STEPS
    assert set(site.desk.folder.path.iterdir()) == before


def test_a_desk_that_closes_ends_its_work(
    make_restorer, finder_of, mark_face, photo: Path, tmp_path: Path
) -> None:
    with AppFolder(tmp_path) as folder, Desk(make_restorer(), finder_of(mark_face()), folder) as d:
        asked = Asked("all", 0.0, 0, STEPS, 1, "wavelet")
        with pytest.raises(StoppedError, match="server"):
            d.restore(photo, asked, lambda now: d.stop() if now.share else None)
        with pytest.raises(StoppedError):
            d.look(photo)


def test_the_time_left_leaves_out_the_first_step_and_starts_anew_with_a_round() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])

    def left(at: float, stage: str, share: float) -> float | None:
        now[0] = at
        return pace.left_s(Progress(stage, 0, 3, share))

    assert left(0, "restoring", 0) is None
    assert left(100, "restoring", 0.1) is None  # a compilation, say
    assert left(101, "restoring", 0.2) is None  # too little was seen
    assert left(104, "restoring", 0.5) == pytest.approx(5)
    assert left(105, "again", 0.0) is None
    assert left(106, "again", 0.5) is None
    assert left(110, "again", 0.75) == pytest.approx(4)


def test_progress_is_told_in_words() -> None:
    def words(now: Progress, left_s: float | None = None, *, may_repeat: bool = False) -> str:
        return progress_words(now, left_s, may_repeat)

    assert words(Progress("reading")) == "Reading the photo"
    assert words(Progress("restoring", 0, 1, 0.5), 3) == "Restoring 1 face, about 5 s left"
    many = Progress("restoring", 2, 7, 0.3)
    assert words(many, 44) == "Restoring 7 faces, 2 done, about 45 s left"
    assert words(many, 130, may_repeat=True).endswith("2 min left (more if a face is tried again)")
    again = Progress("again", 0, 2, 0.3)
    assert words(again, 9, may_repeat=True) == (
        "Trying 2 faces again, closer to the photo, about 10 s left"
    )
    assert words(Progress("again", 2, 2, 1.0)) == "Checking the faces and putting them in"


def test_one_page_does_not_stop_another() -> None:
    runs = Runs()
    runs.begin("a")
    runs.begin("b")
    check_a, check_b = runs.watch("a"), runs.watch("b")
    runs.stop("a")
    check_b()
    with pytest.raises(StoppedError):
        check_a()
    with pytest.raises(StoppedError):
        runs.watch("a")()  # stopped before its turn came
    runs.begin("a")
    runs.watch("a")()
    with pytest.raises(StoppedError):
        check_a()
    assert runs.waits("a")


def test_the_guards_further_tries_are_told_as_such(make_restorer, portrait: np.ndarray) -> None:
    from restore.app_watch import WatchedRestorer

    restorer = make_restorer(steps=4)
    seen: list[Progress] = []
    watched = WatchedRestorer(restorer, restorer.config, seen.append)
    face = portrait[:64, :64].copy()
    for fidelity in (0.0, 0.5, 0.0):
        list(watched.restore_each([face, face], seeds=[1, 2], fidelity=fidelity))
    stages = list(dict.fromkeys(now.stage for now in seen))
    assert stages == ["restoring", "again", "comparing"]
    first = [now.share for now in seen if now.stage == "restoring"]
    assert first == sorted(first)
    assert (first[0], first[-1]) == (0, 1)
    assert 0.125 in first  # a quarter of the first of two faces
