"""Whether the page can be written is asked before the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_manifests.errors import InputError, StorageError
from restore.page import ComparePage
from restore.places import check_page, check_writable


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write to."""
    folder = tmp_path / "sealed"
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    yield folder
    folder.chmod(0o700)


def test_a_page_replaces_a_page_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    check_page(page)
    ComparePage(page).close()
    check_page(page)
    diary, folder = tmp_path / "diary.html", tmp_path / "folder.html"
    diary.write_text("<p>a diary")
    folder.mkdir()
    for file in (diary, folder):
        with pytest.raises(InputError, match=r"is no before/after page of AuthFace"):
            check_page(file)
    with pytest.raises(InputError, match=r"photo\.jpg is no name for a page"):
        check_page(tmp_path / "photo.jpg")


def test_a_new_folder_is_fine_and_a_file_in_its_place_is_not(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "folder" / "page.html")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file is no folder"):
        check_writable(tmp_path / "file" / "page.html")


def test_a_sealed_folder_is_named(sealed: Path) -> None:
    with pytest.raises(StorageError, match=f"into {sealed}"):
        check_writable(sealed / "new" / "page.html")
