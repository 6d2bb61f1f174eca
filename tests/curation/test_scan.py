from __future__ import annotations

import os
from pathlib import Path

import pytest

from curation.formats import sniff
from curation.scan import find_photos
from data_manifests.errors import InputError

JPEG = b"\xff\xd8\xff\xe0" + b"\x00" * 60


def names(*sources: Path) -> list[str]:
    return [f.path.name for f in find_photos(sources) if not f.problem]


def test_photos_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.JPG", "c/a.png", "Z.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    assert names(tmp_path) == ["Z.tif", "a.JPG", "b.jpg", "a.png"]


def test_notes_sidecars_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("notes.txt", "a.xmp", ".hidden.jpg", "._a.jpg"):
        (tmp_path / name).write_bytes(JPEG if name.endswith("jpg") else b"text")
    assert names(tmp_path) == []


def test_a_picture_without_a_pictures_name_is_found_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "IMG_0001").write_bytes(JPEG)
    assert names(tmp_path) == ["IMG_0001"]


def test_a_file_named_by_the_user_always_comes(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    assert names(tmp_path / "notes.txt") == ["notes.txt"]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    found = list(find_photos([tmp_path]))
    assert [f.path.name for f in found if not f.problem] == ["a.jpg"]
    assert [f.path.name for f in found if f.problem] == ["self.jpg"]


def test_a_pipe_named_like_a_photo_is_told_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    [found] = find_photos([tmp_path])
    assert "no ordinary file" in found.problem


def test_a_folder_named_like_a_photo_is_entered(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    (tmp_path / "a.jpg" / "b.jpg").write_bytes(JPEG)
    assert names(tmp_path) == ["b.jpg"]


def test_a_missing_source_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere does not exist"):
        list(find_photos([tmp_path / "nowhere"]))


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        (JPEG, "a.png", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "a.jpg", "PNG"),
        (b"II*\x00\x08\x00\x00\x00\x00\x00", "a.tif", "TIFF"),
        (b"II*\x00\x08\x00\x00\x00\x00\x00", "a.NEF", "RAW"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "a.jpg", "RAW"),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avif", "a.x", "AVIF"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "a.x", "HEIF"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", "a.x", "RAW"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x01mp42", "a.jpg", ""),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "a", "WEBP"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "a.webp", ""),
        (b"GIF89a", "a.jpg", ""),
        (b"", "a.jpg", ""),
    ],
)
def test_the_bytes_decide_the_format(head: bytes, name: str, kind: str) -> None:
    assert sniff(head, name) == kind
