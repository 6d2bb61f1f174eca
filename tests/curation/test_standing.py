"""What a second, third and fourth ingest makes of files that were renamed, copied or mended."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from curation.config import DecoderConfig, FacesConfig, GatesConfig, IngestConfig
from curation.pipeline import Ingested, ingest
from data_manifests.media import Workspace
from data_manifests.records import Photo

Srgb = NDArray[np.uint8]
WritePhoto = Callable[..., Path]
CONFIG = IngestConfig(
    faces=FacesConfig(finder="haar"), gates=GatesConfig(least_long_side=100, least_eye_distance=0)
)
RATING = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    ' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="3"/></rdf:RDF></x:xmpmeta>'
)


class Tables:
    """Rows by photo_id, kept from run to run as the ledger keeps them."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.rows = workspace, dict[str, Photo]()

    def run(
        self, *sources: Path, config: IngestConfig = CONFIG, rehash: bool = False
    ) -> list[Ingested]:
        stream = ingest(
            sources, workspace=self.workspace, config=config, known=dict(self.rows), rehash=rehash
        )
        items = list(stream)
        self.rows |= {i.photo.photo_id: i.photo for i in items if i.photo and i.changed}
        return items

    @property
    def only(self) -> Photo:
        [row] = self.rows.values()
        return row


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    return Tables(Workspace(tmp_path / "w"))


def statuses(items: list[Ingested]) -> list[str]:
    return [i.status for i in items]


def copy(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    return target


def touch(path: Path, seconds: int) -> None:
    os.utime(path, (1_700_000_000 + seconds,) * 2)


@pytest.fixture(scope="module")
def large_photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of 144 megapixels in a small file: half a gigabyte of pixels."""
    path = tmp_path_factory.mktemp("large") / "large.png"
    Image.new("RGB", (12_000, 12_000), (90, 80, 70)).save(path, compress_level=1)
    return path


CRAMPED = CONFIG.model_copy(update={"decoder": DecoderConfig(processes=1, memory_mb=700)})


def test_a_photo_that_took_too_much_memory_is_tried_again_with_more(
    tables: Tables, large_photo: Path
) -> None:
    tables.run(large_photo, config=CRAMPED)
    assert tables.only.reasons == ("memory",)
    assert statuses(tables.run(large_photo, config=CRAMPED)) == ["known"]  # nothing was mended
    assert statuses(tables.run(large_photo)) == ["new"]
    assert tables.only.reasons == ("no_face",)
    assert statuses(tables.run(large_photo)) == ["known"]


def test_a_rehash_tries_what_broke_the_worker_again(tables: Tables, large_photo: Path) -> None:
    tables.run(large_photo, config=CRAMPED)
    assert statuses(tables.run(large_photo, config=CRAMPED, rehash=True)) == ["new"]


def test_a_copy_without_the_sidecar_does_not_undo_the_rating(
    tables: Tables, tmp_path: Path, write_photo: WritePhoto, portrait: Srgb
) -> None:
    first = write_photo(portrait, "a/p.jpg")
    first.with_suffix(".xmp").write_text(RATING)
    copy(first, tmp_path / "b/p.jpg")
    (tmp_path / "b/other.xmp").write_text(RATING)
    both = (tmp_path / "a", tmp_path / "b")
    tables.run(*both)
    assert (tables.only.xmp_rating, tables.only.path) == (3, str(first))
    for rehash in (False, False, True):
        items = tables.run(*both, rehash=rehash)
        assert statuses(items) == ["known", "known"]
        assert tables.only.xmp_rating == 3


def test_a_copy_that_comes_later_does_not_undo_the_rating(
    tables: Tables, tmp_path: Path, write_photo: WritePhoto, portrait: Srgb
) -> None:
    first = write_photo(portrait, "z/p.jpg")
    first.with_suffix(".xmp").write_text(RATING)
    tables.run(first)
    later = copy(first, tmp_path / "a/p.jpg")
    assert statuses(tables.run(later, first)) == ["copy", "known"]
    assert (tables.only.xmp_rating, tables.only.copies) == (3, (str(later),))


def test_swapped_names_are_followed(
    tables: Tables, tmp_path: Path, write_photo: WritePhoto, portrait: Srgb
) -> None:
    one, two = write_photo(portrait, "s/1.jpg"), write_photo(portrait[:, ::-1], "s/2.jpg")
    touch(one, 1)
    touch(two, 2)
    tables.run(tmp_path / "s")
    before = {p.path: i for i, p in tables.rows.items()}
    one.rename(tmp_path / "s/x")
    two.rename(one)
    (tmp_path / "s/x").rename(two)
    tables.run(tmp_path / "s")
    assert {p.path: i for i, p in tables.rows.items()} == {
        str(one): before[str(two)],
        str(two): before[str(one)],
    }
    assert not any(p.copies for p in tables.rows.values())
    assert statuses(tables.run(tmp_path / "s")) == ["known", "known"]


def test_a_copy_takes_the_place_of_a_deleted_original(
    tables: Tables, tmp_path: Path, write_photo: WritePhoto, portrait: Srgb
) -> None:
    first = write_photo(portrait, "a/p.jpg")
    second = copy(first, tmp_path / "b/p.jpg")
    tables.run(tmp_path / "a", tmp_path / "b")
    assert tables.only.copies == (str(second),)
    first.unlink()
    tables.run(tmp_path / "b")
    assert (tables.only.path, tables.only.copies) == (str(second), ())
    stricter = CONFIG.model_copy(update={"gates": GatesConfig(least_long_side=101)})
    tables.run(tmp_path / "b", config=stricter)
    assert (tables.only.path, tables.only.copies) == (str(second), ())


def test_a_copy_and_a_new_subject_in_one_run_are_both_kept(
    tables: Tables, tmp_path: Path, write_photo: WritePhoto, portrait: Srgb
) -> None:
    first = write_photo(portrait, "s/m.jpg")
    tables.run(tmp_path / "s")
    earlier = copy(first, tmp_path / "s/l.jpg")
    tables.run(tmp_path / "s", config=CONFIG.model_copy(update={"subject_id": "s1"}))
    assert (tables.only.subject_id, tables.only.copies) == ("s1", (str(earlier),))


def test_a_touched_file_is_read_once_more_and_then_known_by_its_time(
    tables: Tables, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path = write_photo(portrait)
    tables.run(path)
    touch(path, 5)
    assert statuses(tables.run(path)) == ["known"]
    assert tables.only.modified_ns == path.stat().st_mtime_ns


def test_a_time_beyond_what_a_table_holds_does_not_stop_the_run(
    tables: Tables, write_photo: WritePhoto, portrait: Srgb
) -> None:
    path = write_photo(portrait)
    os.utime(path, ns=(15 * 10**18, 15 * 10**18))
    if path.stat().st_mtime_ns < 2**63:
        pytest.skip("this file system keeps no such time")
    tables.run(path)
    assert tables.only.modified_ns < 2**63
    assert statuses(tables.run(path)) == ["known"]
