"""The web page in a real browser: upload, pick, restore, compare, download."""

from __future__ import annotations

import gc
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from curation.config import FacesConfig
from curation.faces import open_finder
from tests.waiting import until

pytest.importorskip("gradio", reason="the extra `app` is not installed")

from restore.app import serving
from restore.app_desk import Desk
from restore.app_folder import AppFolder

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Gradio leaves event loops open,
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),  # and knows pandas 3
]


@pytest.fixture(scope="module")
def address(make_restorer, free_port, tmp_path_factory: Any) -> Iterator[str]:
    """The page, with the best face finder that there is."""
    finder = open_finder(FacesConfig())
    with (
        AppFolder(tmp_path_factory.mktemp("page")) as folder,
        Desk(make_restorer(), finder, folder) as desk,
        serving(desk, port=free_port()) as address,
    ):
        yield address
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()  # what Gradio leaves open is closed here, and not in somebody else's test


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, opened; it may ask nobody else, and nothing may fail unseen."""
    faults: list[str] = []
    browser.on("pageerror", lambda error: faults.append(str(error)))
    browser.on("request", lambda request: faults.extend(elsewhere(request.url, address)))
    browser.on(
        "response", lambda r: faults.append(f"{r.status} {r.url}") if r.status >= 400 else None
    )
    browser.goto(address)
    browser.get_by_text("A restored face is a guess.").wait_for()
    yield browser
    assert faults == []


def elsewhere(url: str, address: str) -> list[str]:
    return [] if url.startswith((address, "data:", "blob:")) else [url]


def upload(page: Any, file: Path) -> None:
    page.set_input_files("input[type=file]", file)


def sisters(portrait: np.ndarray, folder: Path) -> tuple[Path, np.ndarray]:
    """A photo of two, the right one smaller."""
    smaller = np.zeros_like(portrait)
    smaller[:400, :400] = cv2.resize(portrait, (400, 400), interpolation=cv2.INTER_AREA)
    both_HWC = np.concatenate([portrait, smaller], axis=1)
    file = folder / "The sisters (2).png"
    Image.fromarray(both_HWC).save(file)
    return file, both_HWC


def test_two_faces_one_is_picked_restored_compared_and_downloaded(
    page: Any, portrait: np.ndarray, tmp_path: Path
) -> None:
    file, both_HWC = sisters(portrait, tmp_path)
    assert page.get_by_text("random weights").is_visible()
    assert page.get_by_role("button", name="Restore", exact=True).is_disabled()
    upload(page, file)
    page.get_by_text("2 faces were found.").wait_for()
    page.get_by_text("Settings", exact=True).click()
    page.get_by_label("Seed").fill("5")
    page.keyboard.press("Tab")
    page.get_by_label(re.compile(r"0: \d+ x")).uncheck()
    page.wait_for_timeout(300)  # Gradio takes over what was typed when typing rests
    page.get_by_role("button", name="Restore", exact=True).click()
    page.get_by_text("1 of 1 picked faces restored.").wait_for()
    assert page.get_by_role("cell", name="left as it is").is_visible()
    until(page, "document.querySelectorAll('.slider-wrap img').length === 2")
    assert page.get_by_label("Whole photo").is_checked()
    first = "document.querySelector('.slider-wrap img').src"
    whole = page.evaluate(first)
    page.get_by_label("Face 1").check()
    until(page, f"{first} !== '{whole}'")
    output, record = (
        download(page, f"Download {w}", tmp_path) for w in ("the photo", "its record")
    )
    assert (output.name, record.name) == (file.name, f"{file.name}.authface.json")
    said = json.loads(record.read_text())
    assert [face["status"] for face in said["faces"]] == ["skipped", "restored"]
    assert said["settings"]["seed"] == 5
    with Image.open(output) as picture:
        assert "compositeWithTrainedAlgorithmicMedia" in str(picture.info["XML:com.adobe.xmp"])
        after_HWC = np.asarray(picture)
    assert (after_HWC[:, :512] == both_HWC[:, :512]).all()
    assert (after_HWC[:, 512:] != both_HWC[:, 512:]).any()


def download(page: Any, name: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).or_(page.get_by_role("link", name=name)).first.click()
    got = waiting.value
    target = folder / "got" / got.suggested_filename
    got.save_as(target)
    return target


def test_what_can_not_be_used_is_told_in_words_and_the_page_goes_on(
    page: Any, photo: Path, tmp_path: Path
) -> None:
    broken, sea = tmp_path / "broken.jpg", tmp_path / "sea.png"
    broken.write_bytes(photo.read_bytes()[:2000])
    Image.new("RGB", (300, 200), "teal").save(sea)
    upload(page, broken)
    page.get_by_text("can't be decoded").wait_for()
    page.get_by_label("Remove").or_(page.get_by_label("Clear")).first.click()
    upload(page, sea)
    page.get_by_text("No face was found in this photo").wait_for()
    assert page.get_by_role("button", name="Restore", exact=True).is_disabled()
    page.get_by_label("Remove").or_(page.get_by_label("Clear")).first.click()
    upload(page, photo)
    page.get_by_text("1 face was found.").wait_for()
    page.get_by_label(re.compile(r"0: \d+ x")).uncheck()
    page.get_by_role("button", name="Restore", exact=True).click()
    page.get_by_text("No face is picked.").wait_for()


def test_the_page_fits_a_phone(page: Any, photo: Path) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    upload(page, photo)
    page.get_by_text("1 face was found.").wait_for()
    page.get_by_role("button", name="Restore", exact=True).click()
    page.get_by_text("1 of 1 picked faces restored.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_photographers_photo_is_restored_at_its_full_size(
    page: Any, shared_photos: Path, tmp_path: Path
) -> None:
    file = min((shared_photos / "portraits").glob("*.jpg"), key=lambda p: p.stat().st_size)
    with Image.open(file) as picture:
        size = picture.size
    upload(page, file)
    page.get_by_text(re.compile("faces? (was|were) found")).wait_for()
    page.get_by_role("button", name="Restore", exact=True).click()
    page.get_by_text("picked faces restored.").wait_for(timeout=60_000)
    output = download(page, "Download the photo", tmp_path)
    assert output.name == file.name
    with Image.open(output) as picture:
        assert picture.size in (size, size[::-1])  # written upright
        assert b"compositeWithTrainedAlgorithmicMedia" in picture.info["xmp"]
