"""Doubtful faces become questions; what may not be looked at is told and not sent."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_manifests.consent import grant, withdraw
from data_manifests.records import Box, Consent, Photo, Task, Tombstone
from data_manifests.store import Store, file_sha256
from data_manifests.tombstones import mark_of, open_key
from restore.consents import against_embedding, against_looking
from restore.review import Doubtful, ask_about, stitch

NOW = datetime.now(UTC)
BOX = Box(left=180, top=70, right=270, bottom=165)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "tables")


@pytest.fixture
def doubtful(photo: Path, tmp_path: Path) -> Doubtful:
    """The portrait and a darker one in place of a restored one."""
    target = tmp_path / "restored.png"
    Image.fromarray((np.asarray(Image.open(photo)) * 0.8).astype(np.uint8)).save(target)
    return Doubtful(
        source=photo, target=target, photo_id=file_sha256(photo), box=BOX, doubt="seeds disagree"
    )


def allow(store: Store, doubtful: Doubtful, *purposes: str) -> None:
    consent = Consent(
        consent_id="c1",
        subject_id="s1",
        purposes=purposes,
        basis="consent",
        valid_from=NOW - timedelta(days=1),
    )
    grant(store, consent)
    row = Photo(
        photo_id=doubtful.photo_id,
        path=str(doubtful.source),
        state="kept",
        size_bytes=1,
        consent_id="c1",
        subject_id="s1",
    )
    store.upsert(Photo, [row], why="test")


def test_a_photo_that_was_not_ingested_is_asked_about_once(
    doubtful: Doubtful, store: Store, tmp_path: Path
) -> None:
    worse = replace(doubtful, doubt="drift 0.30")
    asked = ask_about([worse, doubtful], store, tmp_path / "media")
    (task,) = asked.tasks
    assert (task.kind, task.state, task.photo_id) == ("review", "waiting", doubtful.photo_id)
    said = "restored face: drift 0.30 (and 1 more doubtful face)"
    assert task.note == f"{doubtful.source.name}, {said}"
    assert asked.text() == "1 review task waits; `authface annotate push` sends what waits"
    again = ask_about([doubtful], store, tmp_path / "media")
    assert (again.tasks, again.before) == ((), 1)
    assert again.text() == "1 photo asked about before"
    assert store.read(Task) == [task]


def test_a_consent_that_speaks_against_it_is_told(
    doubtful: Doubtful, store: Store, tmp_path: Path
) -> None:
    allow(store, doubtful, "training")
    asked = ask_about([doubtful], store, tmp_path / "media")
    assert (asked.tasks, asked.refused) == ((), {"consent_other_purpose": 1})
    said = "1 photo not asked about (consent_other_purpose): see `authface consent list`"
    assert asked.text() == said
    assert not (tmp_path / "media").exists()


def test_a_consent_that_covers_it_lets_it_through_until_it_is_withdrawn(
    doubtful: Doubtful, store: Store, tmp_path: Path
) -> None:
    allow(store, doubtful, "annotation")
    assert against_looking({doubtful.photo_id}, store) == {}
    assert len(ask_about([doubtful], store, tmp_path / "media").tasks) == 1
    withdraw(store, "c1", NOW - timedelta(seconds=1))
    assert against_looking({doubtful.photo_id}, store) == {doubtful.photo_id: "consent_withdrawn"}


def test_what_was_erased_is_not_asked_about(
    doubtful: Doubtful, store: Store, tmp_path: Path
) -> None:
    mark = mark_of(open_key(store), "photo", doubtful.photo_id)
    row = Tombstone(mark=mark, kind="photo", reason="r", erased_at=NOW, receipt_id="r")
    store.append(Tombstone, [row], why="test")
    asked = ask_about([doubtful], store, tmp_path / "media")
    assert (asked.tasks, asked.refused) == ((), {"erased_subject": 1})
    assert against_embedding({doubtful.photo_id}, store) == {doubtful.photo_id: "erased_subject"}


def test_vectors_need_a_consent_where_the_photo_is_known(doubtful: Doubtful, store: Store) -> None:
    ids = {doubtful.photo_id}
    assert against_embedding(ids, store) == {}
    allow(store, doubtful, "annotation")
    assert against_embedding(ids, store) == {doubtful.photo_id: "consent_other_purpose"}
    rows = [replace(row, consent_id=None) for row in store.read(Photo)]
    store.upsert(Photo, rows, why="test")
    assert against_embedding(ids, store) == {doubtful.photo_id: "no_consent"}


def test_both_pictures_show_the_face_also_if_the_result_is_larger(portrait) -> None:
    twice = np.repeat(np.repeat(portrait, 2, axis=0), 2, axis=1)
    small = Image.open(io.BytesIO(stitch(portrait, portrait, BOX, has_input=True)))
    large = Image.open(io.BytesIO(stitch(portrait, twice, BOX, has_input=True)))
    assert abs(large.width - small.width) < 30
    side = (large.width - 16) * 2 // 5
    change = np.asarray(large)[40 : 40 + side // 2, -side // 2 :]
    assert change.mean() < 25  # four times the difference of two enlargements


def test_before_and_after_are_large_and_the_whole_photo_shows_where_the_face_is(portrait) -> None:
    sheet = Image.open(io.BytesIO(stitch(portrait, portrait // 2, BOX, has_input=True)))
    side = sheet.height - 40
    wide = (sheet.width - 16) * 2 // 5
    assert 620 <= wide <= side == 640
    pixels_HWC = np.asarray(sheet).astype(int)
    before, after = pixels_HWC[40:, :wide], pixels_HWC[40:, wide + 8 : 2 * wide + 8]
    assert np.abs(before / 2 - after).mean() < 3
    whole = pixels_HWC[80 + side // 2 + 2 :, -(wide // 2) :]
    yellow = (np.abs(whole - (255, 214, 0)).max(axis=2) < 60).any(axis=0)
    share = (side // 2 - 40) / portrait.shape[0]  # the photo is square, the place for it wide
    left, right = np.flatnonzero(yellow)[[0, -1]]
    assert left == pytest.approx(BOX.left * share, abs=5)
    assert right == pytest.approx(BOX.right * share, abs=5)
