"""What was erased does not come back: neither the file nor its pixels in another one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from authface.cli import app
from curation.config import DecoderConfig, FacesConfig, GatesConfig, IngestConfig
from curation.ledger import commit, known_photos
from curation.pipeline import Ingested, ingest
from curation.remote import forget_media
from curation.settle import settle_tables
from data_manifests.erase import carry_out, plan_erasure
from data_manifests.errors import ConfigError
from data_manifests.media import Workspace
from data_manifests.records import Face, Photo, Tombstone
from data_manifests.store import Store
from data_manifests.tombstones import mark_of, open_key

CONFIG = IngestConfig(
    gates=GatesConfig(least_long_side=100, least_megapixels=0.0),
    decoder=DecoderConfig(processes=1),
    faces=FacesConfig(finder="haar"),
)


def take_in(place: Workspace, folder: Path, subject: str | None = None) -> list[Ingested]:
    store = Store(place.tables)
    config = CONFIG.model_copy(update={"subject_id": subject})
    stream = ingest([folder], workspace=place, config=config, known=known_photos(store))
    return list(commit(store, stream))


@pytest.fixture
def erased(tmp_path: Path, portrait: NDArray[np.uint8]) -> Path:
    """A folder of two photos, one of them erased; the workspace's folder."""
    folder, place = tmp_path / "originals", Workspace(tmp_path / "w")
    (folder / "mine").mkdir(parents=True)
    (folder / "other").mkdir()
    Image.fromarray(portrait).save(folder / "mine" / "mine.png")
    Image.fromarray(portrait[:, ::-1].copy()).save(folder / "other" / "other.png")
    place.tables.mkdir(parents=True)
    place.settings.write_text("")
    take_in(place, folder / "mine", "s-1")
    take_in(place, folder / "other", "s-2")
    store = Store(place.tables)
    carry_out(store, place, plan_erasure(store, place, "s-1"), lambda owed: ())
    return place.root


def files(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for p in (root / "media").rglob("*") if p.is_file()}


def test_an_erased_file_is_refused_under_any_name_and_leaves_nothing(erased: Path) -> None:
    place, folder = Workspace(erased), erased.parent / "originals"
    shutil.copy(folder / "mine" / "mine.png", folder / "other" / "renamed.png")
    before = files(erased)
    taken = take_in(place, folder)
    assert sorted(i.status for i in taken) == ["erased", "erased", "known"]
    assert all(i.photo is None and not i.faces for i in taken if i.status == "erased")
    assert files(erased) == before
    rows = Store(place.tables).read(Photo)
    assert [p.path.rpartition("/")[2] for p in rows] == ["other.png"]


def test_the_same_pixels_in_another_file_are_refused_too(erased: Path) -> None:
    place, folder = Workspace(erased), erased.parent / "originals" / "mine"
    with Image.open(folder / "mine.png") as picture:
        picture.save(folder / "again.tiff")
        picture.save(folder / "twice.tiff")
    (folder / "mine.png").unlink()
    before = files(erased)
    assert [i.status for i in take_in(place, folder)] == ["erased", "erased"]
    assert files(erased) == before
    assert len(Store(place.tables).read(Photo)) == 1


def test_without_the_key_nothing_is_taken_in(erased: Path) -> None:
    (erased / ".erase-key").unlink()
    with pytest.raises(ConfigError, match="key"):
        take_in(Workspace(erased), erased.parent / "originals")


def test_the_summary_counts_what_was_refused(
    erased: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = "[ingest.gates]\nleast_long_side = 100\nleast_megapixels = 0.0\n"
    (erased / "authface.toml").write_text(settings + '[ingest.faces]\nfinder = "haar"\n')
    folder = erased.parent / "originals" / "mine"
    app(["ingest", str(folder), "-w", str(erased), "--json"], standalone_mode=False)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert said[0]["status"] == "erased"
    assert said[1]["erased"] == 1
    app(["ingest", str(folder), "-w", str(erased)], standalone_mode=False)
    assert "erased_subject" in capsys.readouterr().out


def test_a_mark_tells_nothing_without_the_key(erased: Path) -> None:
    store = Store(erased / "tables")
    marks = store.read(Tombstone)
    assert {t.kind for t in marks} >= {"photo", "pixels", "subject"}
    assert all(t.erased_at <= datetime.now(UTC) for t in marks)
    assert len({t.mark for t in marks}) == len(marks)
    assert replace(marks[0], mark="") != marks[0]


def test_uploaded_pictures_are_deleted_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a.png").write_bytes(b"a")
    (tmp_path / "crops" / "b.png").write_bytes(b"b")
    forget_media(f"file://{tmp_path}/", ["crops/a.png", "crops/gone.png"])
    assert [p.name for p in (tmp_path / "crops").iterdir()] == ["b.png"]


def test_who_is_erased_while_an_ingest_reads_does_not_come_back(
    erased: Path, portrait: NDArray[np.uint8]
) -> None:
    place, store = Workspace(erased), Store(erased / "tables")
    folder = erased.parent / "more"
    folder.mkdir()
    Image.fromarray(portrait[::-1].copy()).save(folder / "a.png")
    Image.fromarray(portrait[::-1, ::-1].copy()).save(folder / "b.png")
    before = files(erased)
    stream = ingest([folder], workspace=place, config=CONFIG, known=known_photos(store))
    said = []
    for item in commit(store, stream):
        assert item.photo is not None
        said.append(item.photo.path.rpartition("/")[2])
        if said[-1] == "a.png":
            made = files(erased) - before
            mark = mark_of(open_key(store), "photo", item.photo.photo_id)
            row = Tombstone(
                mark=mark, kind="photo", reason="r", erased_at=datetime.now(UTC), receipt_id="r"
            )
            store.append(Tombstone, [row], why="erased meanwhile")
    assert said == ["a.png", "b.png"]
    rows = {p.path.rpartition("/")[2]: p for p in store.read(Photo)}
    assert sorted(rows) == ["b.png", "other.png"]
    assert made
    names = {str(rows["b.png"].proxy_path), str(rows["b.png"].thumb_path)}
    crops = {
        c.path for f in store.read(Face) if f.photo_id == rows["b.png"].photo_id for c in f.crops
    }
    assert files(erased) - before == {f"media/{m}" for m in names | crops}


def test_an_erasure_waits_for_the_commit_that_looked_before_it(
    tmp_path: Path, portrait: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo is judged again and has been looked up; its erasure begins before it is written."""
    place = Workspace(tmp_path / "w")
    store = Store(place.tables)
    Image.fromarray(portrait).save(tmp_path / "a.png")
    config = CONFIG.model_copy(update={"subject_id": "s-1"})
    stream = list(ingest([tmp_path / "a.png"], workspace=place, config=config, known={}))
    list(commit(store, stream))
    plan = plan_erasure(store, place, "s-1")
    eraser = Thread(target=lambda: carry_out(store, place, plan, lambda owed: ()))
    upsert = Store.upsert

    def slow(self: Store, noun: type, records: Iterable[Any], *, why: str) -> Any:
        done = upsert(self, noun, records, why=why)
        if noun is Face and eraser.ident is None:
            eraser.start()
            eraser.join(3)  # long enough for an erasure that nobody holds up
            assert eraser.is_alive(), "the erasure did not wait"
        return done

    monkeypatch.setattr(Store, "upsert", slow)
    list(commit(store, stream))
    monkeypatch.undo()
    eraser.join(60)
    assert not eraser.is_alive()
    assert store.read(Photo) == []
    assert store.read(Face) == []


def test_settling_does_not_write_back_what_was_erased(erased: Path) -> None:
    store = Store(erased / "tables")
    [other] = store.read(Photo)
    key = open_key(store)
    stale = [replace(other, photo_id=name, pixel_hash="same") for name in ("gone", "stays")]
    mark = Tombstone(
        mark=mark_of(key, "photo", "gone"),
        kind="photo",
        reason="subject",
        erased_at=datetime.now(UTC),
        receipt_id="",
    )
    store.append(Tombstone, [mark], why="test")
    settle_tables(store, CONFIG.gates, photos=[*stale, other])
    assert {p.photo_id for p in store.read(Photo)} == {"stays", other.photo_id}
