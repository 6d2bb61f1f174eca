"""An erased person is in no version of any table, nor anywhere else in the workspace."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from PIL import Image

from data_manifests import erase, rewrite
from data_manifests import traces as traces_of
from data_manifests.assemble import BuildConfig, build
from data_manifests.consent import grant
from data_manifests.erase import Plan, carry_out, finish, pending, plan_erasure
from data_manifests.errors import ConfigError, InputError, ManifestError, RemoteError
from data_manifests.fsck import prove
from data_manifests.holdings import holdings
from data_manifests.journal import Journal
from data_manifests.ledger import verify_ledger
from data_manifests.media import Workspace, write_media
from data_manifests.person import find_person
from data_manifests.private import write_private
from data_manifests.receipt import is_genuine
from data_manifests.records import (
    Annotation,
    Box,
    Consensus,
    Consent,
    ConsentEntry,
    Crop,
    Face,
    Photo,
    Retouch,
    Sample,
    Task,
    Tombstone,
    Verdict,
)
from data_manifests.seals import file_sha256
from data_manifests.store import TABLES, Store
from data_manifests.tombstones import erased_in, mark_of, open_key

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PEOPLE, EACH = 4, 3
WHO = "subject-2"


@dataclass(frozen=True)
class House:
    """A workspace with a few people in it."""

    place: Workspace
    store: Store

    def photos(self, subject: str = WHO) -> list[Photo]:
        return [p for p in self.store.read(Photo) if p.subject_id == subject]


def digest(*parts: object) -> str:
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()


def jpeg(*parts: object) -> bytes:
    seed = int(digest(*parts)[:8], 16)
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 16, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


def make_photo(media: Path, person: int, number: int) -> tuple[Photo, Face]:
    photo_id = digest("photo", person, number)
    proxy, _ = write_media(media, "proxies", jpeg(person, number, "proxy"), ".jpg")
    thumb, _ = write_media(media, "thumbs", jpeg(person, number, "thumb"), ".jpg")
    crop, sha256 = write_media(media, "crops", jpeg(person, number, "crop"), ".jpg")
    photo = Photo(
        photo_id=photo_id,
        path=f"/originals/s{person}/portrait_{person}_{number}.jpg",
        state="kept",
        size_bytes=1000 + number,
        width=4000,
        height=6000,
        consent_id=f"release-{person}",
        subject_id=f"subject-{person}",
        pixel_hash=digest("pixels", person, number)[:32],
        proxy_path=proxy,
        thumb_path=thumb,
        modified_ns=1,
    )
    face = Face(
        face_id=f"{photo_id}-{digest('box', number)[:12]}",
        photo_id=photo_id,
        index=0,
        box=Box(left=10, top=10, right=900, bottom=900),
        finder="test",
        crops=(
            Crop(
                path=crop,
                sha256=sha256,
                kind="aligned",
                width=16,
                height=24,
                matrix=(0.5, 0.0, 0.0, 0.0, 0.5, 0.0),
            ),
        ),
    )
    return photo, face


def make_answers(photo: Photo, round_: int) -> tuple[Task, Annotation, Consensus]:
    key = f"{photo.photo_id}:triage:1"
    task = Task(
        task_key=key,
        photo_id=photo.photo_id,
        kind="triage",
        state="labelled",
        image_path=photo.proxy_path or "",
        image_width=16,
        image_height=24,
        server="here",
        project_id=1,
        task_id=photo.size_bytes,
    )
    caption = f"portrait of {photo.subject_id} in round {round_}"
    answer = Annotation(
        annotation_id=f"here:{photo.photo_id[:8]}",
        task_key=key,
        photo_id=photo.photo_id,
        annotator="ann",
        state="counted",
        decision="accept",
        caption=caption,
        raw=json.dumps({"caption": caption}),
    )
    settled = Consensus(
        photo_id=photo.photo_id,
        decision="accept",
        voters=1,
        conflict=False,
        caption=caption,
        annotation_ids=(answer.annotation_id,),
    )
    return task, answer, settled


def furnish(root: Path) -> House:
    """Several versions of every table, media, two runs, a page and a restored photo."""
    place, store = Workspace(root), Store(root / "tables")
    for folder in (place.tables, place.media, place.runs):
        folder.mkdir(parents=True)
    place.settings.write_text("")
    photos: list[Photo] = []
    for person in range(PEOPLE):
        name = f"release-{person}"
        terms = Consent(
            consent_id=name,
            purposes=("training",),
            basis=f"folder {person}",
            valid_from=NOW - timedelta(days=1),
            subject_id=f"subject-{person}",
        )
        grant(store, terms)
        made = [make_photo(place.media, person, n) for n in range(EACH)]
        store.upsert(Face, [f for _, f in made], why=f"subject-{person}, {made[0][0].path}")
        store.upsert(Photo, [p for p, _ in made], why=f"ingest {made[0][0].photo_id}")
        photos += [p for p, _ in made]
    for round_ in (1, 2):
        rows = [make_answers(p, round_) for p in photos]
        store.upsert(Task, [t for t, _, _ in rows], why="push")
        store.upsert(Annotation, [a for _, a, _ in rows], why="pull")
        store.upsert(Consensus, [c for _, _, c in rows], why="pull")
        build(store, BuildConfig(), NOW)
    first, second, *_ = (s.sample_id for s in store.read(Sample) if WHO in s.caption)
    store.remove(Sample, [first, second], why=f"dropped {first}")
    _mark_twin(store, photos)
    _runs(place, store)
    page = f'<meta name="generator" content="AuthFace photos"><i>{photos[2 * EACH].path}</i>'
    (root / "photos.html").write_text(page)
    _restored(root / "restored", photos[2 * EACH], "mine.png")
    _restored(root / "restored", photos[0], "other.png")
    return House(place, store)


def _mark_twin(store: Store, photos: list[Photo]) -> None:
    """Another person's row that names one of the person's photos."""
    mine, other = photos[2 * EACH], photos[0]
    why = f"a version of {mine.path.rpartition('/')[2]}: 3 of 256 hash bits differ"
    verdict = Verdict(gate="near_duplicate", keep=False, reason=why)
    twin = replace(other, near_duplicate_of=mine.photo_id, verdicts=(verdict,))
    store.upsert(Photo, [twin], why="settle")


def _runs(place: Workspace, store: Store) -> None:
    last = store.version(Sample) or 0
    runs = {"prior": (last, "tiny"), "old": (0, "tiny")}
    runs |= {"restorer": (0, str(place.runs / "prior" / "model"))}
    for name, (version, base) in runs.items():
        folder = place.runs / name
        (folder / "checkpoints" / "step-000010").mkdir(parents=True)
        record = {"kind": name, "base": base, "tables": {"samples": version}}
        (folder / "config.json").write_text(json.dumps(record))


def _restored(folder: Path, photo: Photo, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(jpeg(name))
    told = {"input": {"path": photo.path, "sha256": photo.photo_id}}
    (folder / f"{name}.authface.json").write_text(json.dumps(told))


def gone(owed: Any) -> Any:
    """A Label Studio that does as it is told."""
    return ()


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("furnished") / "w").place.root


@pytest.fixture
def house(furnished: Path, tmp_path: Path) -> House:
    shutil.copytree(furnished, tmp_path / "w")
    for run in (tmp_path / "w" / "runs").glob("*/config.json"):
        run.write_text(run.read_text().replace(str(furnished), str(tmp_path / "w")))
    return House(Workspace(tmp_path / "w"), Store(tmp_path / "w" / "tables"))


def erase_now(house: House, who: str = WHO, forget: Any = gone) -> erase.Outcome:
    return carry_out(house.store, house.place, plan_erasure(house.store, house.place, who), forget)


def needles(house: House) -> set[str]:
    """Every id, name and hash of the person, and words of their captions."""
    photos = house.photos()
    faces = [f for f in house.store.read(Face) if f.photo_id in {p.photo_id for p in photos}]
    found = {WHO, "release-2", f"portrait of {WHO}"}
    for photo in photos:
        found |= {photo.photo_id, photo.path, Path(photo.path).name, str(photo.pixel_hash)}
        found |= {Path(str(photo.proxy_path)).stem, Path(str(photo.thumb_path)).stem}
    found |= {f.face_id for f in faces} | {c.sha256 for f in faces for c in f.crops}
    for version in range((house.store.version(Sample) or 0) + 1):
        found |= {s.sample_id for s in house.store.read(Sample, version) if WHO in s.caption}
    return found


def everything(root: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file's bytes, and the decoded values of every Parquet file."""
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        yield path, path.name.encode() + b"\n" + path.read_bytes()
        if path.suffix == ".parquet":
            yield path, repr(pq.ParquetFile(path).read().to_pylist()).encode()


def traces(root: Path, wanted: set[str]) -> list[tuple[str, str]]:
    pattern = re.compile("|".join(map(re.escape, sorted(wanted, key=len, reverse=True))).encode())
    return [
        (str(path.relative_to(root)), pattern.search(data)[0].decode())  # type: ignore[index]
        for path, data in everything(root)
        if pattern.search(data)
    ]


def rows_of_others(house: House) -> dict[str, list[Any]]:
    """Every row of every version that is not the person's, by table and version."""
    mine = {p.photo_id for p in house.photos()} or {digest("photo", 2, n) for n in range(EACH)}
    found: dict[str, list[Any]] = {}
    for noun, name in TABLES.items():
        if noun in (ConsentEntry, Tombstone) or house.store.version(noun) is None:
            continue
        for version in range((house.store.version(noun) or 0) + 1):
            rows = house.store.read(noun, version)
            found[f"{name}@{version}"] = [
                r
                for r in rows
                if getattr(r, "photo_id", None) not in mine
                and getattr(r, "consent_id", None) != "release-2"
            ]
    return found


def test_a_dry_run_counts_and_changes_nothing(house: House) -> None:
    before = dict(everything(house.place.root))
    plan = plan_erasure(house.store, house.place, WHO)
    assert dict(everything(house.place.root)) == before
    assert len(plan.person.of("photo")) == EACH
    assert plan.person.rows == {
        "photos": 3, "faces": 3, "tasks": 3, "annotations": 3, "consensus": 3,
        "samples": 1, "consents": 1, "consent_ledger": 1,
    }  # fmt: skip
    assert plan.person.copies["samples"] > 3
    assert len(plan.person.media) == 9
    assert len(plan.person.sent) == 3
    assert plan.person.beside == ()


def test_no_trace_is_left_in_any_version_and_other_rows_are_equal(house: House) -> None:
    wanted, others = needles(house), rows_of_others(house)
    assert traces(house.place.root, wanted)
    outcome = erase_now(house)
    assert traces(house.place.root, wanted) == []
    assert outcome.complete
    after = rows_of_others(house)
    twin = digest("photo", 0, 0)
    for key, rows in others.items():
        assert [r for r in after[key] if getattr(r, "photo_id", "") != twin] == [
            r for r in rows if getattr(r, "photo_id", "") != twin
        ], key
    (cleaned,) = [p for p in house.store.read(Photo) if p.photo_id == twin]
    assert cleaned.near_duplicate_of is None
    assert cleaned.verdicts[0].reason == "a version of erased: 3 of 256 hash bits differ"


def test_files_without_the_person_stay_as_they_are_and_every_seal_is_true(house: House) -> None:
    def parquet() -> dict[str, str]:
        return {str(p): file_sha256(p) for p in house.place.tables.rglob("*.parquet")}

    before = parquet()
    with_person = {
        str(p)
        for p in house.place.tables.rglob("*.parquet")
        if any(n in repr(pq.ParquetFile(p).read().to_pylist()) for n in needles(house))
    }
    assert 0 < len(with_person) < len(before)
    erase_now(house)
    after = parquet()
    assert {p for p, h in before.items() if after[p] != h} == with_person
    for noun in TABLES:
        for name, sha256 in house.store.seals(noun).items():
            assert file_sha256(house.store.folder / TABLES[noun] / name) == sha256
        assert house.store.unsealed(noun) == []


def test_delta_reads_writes_and_counts_every_table_afterwards(house: House) -> None:
    table = DeltaTable(house.store.folder / "photos")
    table.create_checkpoint()
    erase_now(house)
    assert list((house.store.folder / "photos" / "_delta_log").glob("*.checkpoint.parquet"))
    for noun, name in TABLES.items():
        version = house.store.version(noun)
        for number in range(-1 if version is None else version + 1):
            opened = DeltaTable(house.store.folder / name, version=max(number, 0))
            stats = opened.get_add_actions(flatten=True)
            counted = sum(n or 0 for n in _column(stats, "num_records"))
            assert counted == len(house.store.read(noun, max(number, 0)))
            for size, path in zip(
                _column(stats, "size_bytes"), _column(stats, "path"), strict=True
            ):
                assert (house.store.folder / name / path).stat().st_size == size
    other = replace(house.photos("subject-1")[0], width=1)
    assert house.store.upsert(Photo, [other], why="go on").changed == 1
    assert house.store.remove(Photo, [other.photo_id], why="go on") == 1


def _column(actions: Any, name: str) -> list[Any]:
    import pyarrow as pa

    return list(pa.table(actions).column(name).to_pylist())


def test_the_ledger_still_holds_and_names_the_erasure(house: House) -> None:
    erase_now(house)
    assert list(verify_ledger(house.store)) == []
    kinds = [(e.kind, bool(e.terms)) for e in house.store.read(ConsentEntry)]
    assert kinds == [("grant", True)] * 2 + [("grant", False), ("grant", True), ("erase", True)]
    again = Consent(consent_id="release-2", purposes=("training",), basis="again", valid_from=NOW)
    with pytest.raises(InputError, match="was erased"):
        grant(house.store, again)


def test_tombstones_know_what_was_erased_and_name_nobody(house: House) -> None:
    photo, other = house.photos()[0], house.photos("subject-1")[0]
    erase_now(house)
    known = erased_in(house.store)
    assert known.has(photo.photo_id)
    assert known.has_pixels(photo.pixel_hash)
    assert known.has_subject(WHO)
    assert known.has_consent("release-2")
    assert not known.has(other.photo_id)
    assert not known.has_pixels(other.pixel_hash)
    assert not known.has_pixels(None)
    key = house.place.root / ".erase-key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda key: None, "missing"),
        (lambda key: key.write_text(""), "is empty"),
        (lambda key: key.write_text("00" * 32), "another one"),
        (lambda key: key.mkdir(), "can't be read"),
    ],
    ids=["missing", "empty", "another", "folder"],
)
def test_marks_without_their_key_stop_whoever_needs_them(
    tmp_path: Path, damage: Any, said: str
) -> None:
    store, file = Store(tmp_path / "tables"), tmp_path / ".erase-key"
    store.folder.mkdir()
    key = open_key(store)
    assert open_key(store) == key
    (own,) = store.read(Tombstone)
    assert own.kind == "key"
    file.unlink()
    damage(file)
    for ask in (open_key, erased_in):
        with pytest.raises(ConfigError, match=said):
            ask(store)


def test_marks_of_before_the_key_had_one_are_given_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "tables")
    store.folder.mkdir()
    (tmp_path / ".erase-key").write_text("ab" * 32)
    mark = mark_of(b"ab" * 32, "photo", "x")
    row = Tombstone(mark=mark, kind="photo", reason="r", erased_at=NOW, receipt_id="1")
    store.append(Tombstone, [row], why="erased")
    assert erased_in(store).has("x")
    open_key(store)
    assert sorted(t.kind for t in store.read(Tombstone)) == ["key", "photo"]
    assert erased_in(store).has("x")


def test_runs_that_saw_the_person_are_listed_with_their_descendants(house: House) -> None:
    outcome = erase_now(house)
    assert [(r.run, r.samples > 0, r.descends_from) for r in outcome.plan.runs] == [
        ("prior", True, None),
        ("restorer", False, "prior"),
    ]
    mark = json.loads((house.place.runs / "restorer" / "contains_erased.json").read_text())
    assert mark["erasures"][0]["descends_from"] == "prior"
    assert not (house.place.runs / "old" / "contains_erased.json").exists()


def test_media_of_others_pages_and_restored_photos_are_told_apart(house: House) -> None:
    shared, other = house.photos()[0], house.photos("subject-1")[0]
    house.store.upsert(Photo, [replace(other, thumb_path=shared.thumb_path)], why="same picture")
    outcome = erase_now(house)
    assert outcome.plan.person.shared_media == 1
    assert (house.place.media / str(shared.thumb_path)).is_file()
    assert not (house.place.media / str(shared.proxy_path)).exists()
    left = sorted(p.name for p in (house.place.root / "restored").iterdir())
    assert left == ["other.png", "other.png.authface.json"]
    assert not (house.place.root / "photos.html").exists()


def test_returned_files_go_and_an_original_inside_the_workspace_stays(house: House) -> None:
    photo = house.photos()[0]
    original = house.place.root / "shoot" / f"{photo.photo_id}.jpg"
    returned = house.place.root / "hot" / "mine.png"
    for path in (original, returned):
        path.parent.mkdir()
        path.write_bytes(jpeg(path.name))
    (original.parent / f"{original.name}.authface.json").write_text(photo.photo_id)
    house.store.upsert(Photo, [replace(photo, path=str(original))], why="moved")
    retouch = Retouch(
        retouch_id=digest("retouch"),
        photo_id=photo.photo_id,
        path=str(returned),
        match_method="name",
        match_score=1.0,
        state="approved",
    )
    house.store.upsert(Retouch, [retouch], why="came back")
    outcome = erase_now(house)
    assert outcome.plan.traces.returned == (returned,)
    assert [p.name for p in original.parent.iterdir()] == [original.name]
    assert not returned.exists()
    assert house.store.read(Retouch) == []


def test_files_of_other_making_are_named_and_left(house: House) -> None:
    note = house.place.root / "notes.txt"
    note.write_text(f"call about {house.photos()[0].path}")
    outcome = erase_now(house)
    assert outcome.plan.traces.named == (note,)
    assert note.exists()
    assert outcome.facts["not_done"] == ["1 files of other making name the person"]


def test_the_receipt_is_signed_and_says_nothing_of_the_person(house: House) -> None:
    wanted = needles(house)
    outcome = erase_now(house)
    receipt = json.loads(outcome.receipt.read_text())
    key = (house.place.root / ".erase-key").read_bytes()
    assert is_genuine(receipt, key)
    assert not is_genuine(receipt | {"photos": 0}, key)
    assert not [n for n in wanted if n in outcome.receipt.read_text()]
    assert receipt["photos"] == 3
    assert receipt["originals_untouched"] == 3


def test_erasing_twice_finds_nobody(house: House) -> None:
    erase_now(house)
    with pytest.raises(InputError, match="Nothing is held"):
        plan_erasure(house.store, house.place, WHO)
    assert pending(house.place) == ""


def test_tasks_whose_server_is_away_are_kept_for_the_next_run(house: House) -> None:
    outcome = erase_now(house, forget=lambda owed: owed)
    assert (outcome.open_tasks, outcome.complete) == (3, False)
    assert "3 tasks" in pending(house.place)
    file = house.place.root / ".erasing-tasks.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(finish(house.store, house.place, lambda owed: owed[:1])) == [1]
    assert list(finish(house.store, house.place, gone)) == [0]
    assert not file.exists()


def test_media_that_was_uploaded_goes_too_and_a_store_that_is_away_stops_the_end(
    house: House,
) -> None:
    names: list[str] = []

    def away(media: tuple[str, ...]) -> None:
        raise RemoteError("the store is away")

    plan = plan_erasure(house.store, house.place, WHO)
    with pytest.raises(RemoteError):
        carry_out(house.store, house.place, plan, gone, forget_media=away)
    assert house.photos() == []
    (outcome,) = finish(house.store, house.place, gone, forget_media=names.extend)
    assert isinstance(outcome, erase.Outcome)
    assert outcome.complete
    assert len(names) == 9


def test_fsck_finds_every_byte_as_it_should_be_afterwards(house: House) -> None:
    erase_now(house)
    proofs = list(prove(house.place))
    assert len(proofs) > 50
    assert [p for p in proofs if p.fault] == []


def test_a_photo_of_the_same_face_alone_is_followed_and_a_group_with_others_is_not(
    house: House,
) -> None:
    photos = {p.photo_id: p for p in house.store.read(Photo)}
    faces = {f.photo_id: f for f in house.store.read(Face)}
    mine, one, two = (digest("photo", *at) for at in ((2, 0), (1, 0), (1, 1)))
    house.store.upsert(
        Photo, [replace(photos[one], subject_id=None, consent_id=None)], why="nobody's"
    )
    grouped = [replace(faces[i], identity_group="g1") for i in (mine, one)]
    house.store.upsert(Face, grouped, why="group")
    found = find_person(house.store, WHO, media=house.place.media)
    assert one in found.of("photo")
    assert found.groups_left == 0
    house.store.upsert(Face, [replace(faces[two], identity_group="g1")], why="group")
    found = find_person(house.store, WHO, media=house.place.media)
    assert one not in found.of("photo")
    assert (found.groups_left, found.beside) == (1, ("subject-1",))


def test_a_photo_that_was_the_subjects_by_mistake_loses_those_rows_and_keeps_its_own(
    house: House,
) -> None:
    mine = house.photos()[0]
    corrected = replace(mine, subject_id="subject-3", consent_id="release-3")
    house.store.upsert(Photo, [corrected], why="corrected")
    erase_now(house)
    assert corrected in house.store.read(Photo)
    assert mine.photo_id in {f.photo_id for f in house.store.read(Face)}
    for version in range((house.store.version(Photo) or 0) + 1):
        assert WHO not in {p.subject_id for p in house.store.read(Photo, version)}


def test_a_log_with_a_gap_is_refused_before_anything_is_done(house: House) -> None:
    (house.store.folder / "photos" / "_delta_log" / f"{1:020d}.json").unlink()
    with pytest.raises(ManifestError):
        plan_erasure(house.store, house.place, WHO)
    assert house.store.read(Tombstone) == []


QUICK = ("_move_into_place", "_commit_erased", "write_receipt")
STEPS = [
    pytest.param(where, step, id=step, marks=() if step in QUICK else pytest.mark.slow)
    for where, step in (
        (erase, "enter_erasure"),
        (erase, "rewrite_table"),
        (rewrite, "_move_into_place"),
        (rewrite, "_after_rewrite"),
        (rewrite, "_commit_erased"),
        (erase, "delete_media"),
        (erase, "delete_traces"),
        (erase, "mark_runs"),
        (erase, "write_receipt"),
    )
]


@pytest.mark.parametrize(("where", "step"), STEPS)
def test_a_stop_before_any_step_is_ended_by_the_next_run(
    house: House, monkeypatch: pytest.MonkeyPatch, where: Any, step: str
) -> None:
    wanted, others = needles(house), set(rows_of_others(house))
    calls = []

    def stop(*arguments: Any, **named: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2 or step not in ("rewrite_table", "_move_into_place"):
            raise KeyboardInterrupt
        return real(*arguments, **named)

    real = getattr(where, step)
    monkeypatch.setattr(where, step, stop)
    with pytest.raises(KeyboardInterrupt):
        erase_now(house)
    monkeypatch.setattr(where, step, real)
    assert "stopped" in pending(house.place)
    (outcome,) = finish(house.store, house.place, gone)
    assert isinstance(outcome, erase.Outcome)
    assert outcome.complete
    assert outcome.facts["rows_newest"]["photos"] == 3
    assert traces(house.place.root, wanted) == []
    assert set(rows_of_others(house)) >= others
    assert list(verify_ledger(house.store)) == []
    assert Journal(house.place.root).read(Plan) is None
    assert not (house.store.folder / rewrite.STAGING).exists()


def test_a_rerun_does_not_mend_the_view_with_the_erased_consent(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = erase.rewrite_table

    def stop(store: Store, noun: type, *arguments: Any, **named: Any) -> None:
        real(store, noun, *arguments, **named)
        if noun is Consent:
            raise KeyboardInterrupt

    monkeypatch.setattr(erase, "rewrite_table", stop)
    with pytest.raises(KeyboardInterrupt):
        erase_now(house)
    monkeypatch.setattr(erase, "rewrite_table", real)
    before = house.store.version(Consent)
    list(finish(house.store, house.place, gone))
    assert house.store.version(Consent) == before
    assert list(verify_ledger(house.store)) == []


def test_other_peoples_files_keep_their_names(house: House) -> None:
    mine, other = house.photos()[0], house.photos("subject-1")[0]
    name = Path(mine.path).name
    path, copy = f"/originals/s1/Copy of {name}", f"/originals/s1/{name}.bak {name}"
    said = f"near Copy of {name}, {name}.bak and x-{name}; a version of {name}: 3 bits"
    verdict = Verdict(gate="near_duplicate", keep=False, reason=said)
    row = replace(other, path=path, copies=(copy,), verdicts=(verdict,))
    house.store.upsert(Photo, [row], why=f"Copy of {name} and {name}")
    erase_now(house)
    (kept,) = [p for p in house.store.read(Photo) if p.photo_id == other.photo_id]
    assert (kept.path, kept.copies) == (path, (copy,))
    assert kept.verdicts[0].reason == said.replace(f"of {name}:", "of erased:")
    log = [p.read_text() for p in house.store.folder.glob("photos/_delta_log/*.json")]
    assert any(f"Copy of {name} and erased" in text for text in log)


def test_only_pages_of_our_making_are_deleted_and_a_longer_name_is_another_file(
    house: House,
) -> None:
    name, root = Path(house.photos()[0].path).name, house.place.root
    ours = '<meta charset="utf-8"><meta name="generator" content="AuthFace stats">'
    pages = {
        "blog.html": f"<p>{name}</p>",
        "stats.html": f"{ours}<p>{name}</p>",
        "others.html": f"{ours}<p>x{name} and {name}.bak</p>",
    }
    for file, text in pages.items():
        (root / file).write_text(text)
    outcome = erase_now(house)
    assert outcome.plan.traces.named == (root / "blog.html",)
    assert sorted(p.name for p in root.glob("*.html")) == ["blog.html", "others.html"]


@pytest.mark.parametrize("page", ["report", "stats", "photos"])
def test_every_page_that_we_write_says_so(page: str) -> None:
    (template,) = Path().glob(f"*/templates/{page}.html.j2")
    head = template.read_bytes()[: traces_of._MARK_WITHIN]
    assert traces_of._MADE_HERE in head


def test_file_names_that_are_no_utf8_are_found_and_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo, root = house.photos()[0], house.place.root
    cache = root / f"{photo.photo_id}-\udcff.bin"
    note = root / "\udcfe.txt"
    cache.write_bytes(b"cached")
    note.write_text(photo.path)
    plan = plan_erasure(house.store, house.place, WHO)
    told = json.dumps(holdings(house.store, house.place, plan), ensure_ascii=False)
    assert "-\\\\xff.bin" in told
    write_private(root.parent / "report.json", told)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(erase, "_bury", stop)
    with pytest.raises(KeyboardInterrupt):
        carry_out(house.store, house.place, plan, gone)
    monkeypatch.undo()
    assert Journal(root).read(Plan) == plan
    list(finish(house.store, house.place, gone))
    assert not cache.exists()
    assert note.exists()


def test_a_journal_that_is_damaged_is_said(tmp_path: Path) -> None:
    (tmp_path / ".erasing.json").write_text("{")
    with pytest.raises(ManifestError, match="can't be read"):
        Journal(tmp_path).read(Plan)
