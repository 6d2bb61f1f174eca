"""Exports: opened by the packages they are for, gated by consent, whole, and able to forget."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from data_manifests import export_folder
from data_manifests.consent import withdraw
from data_manifests.errors import ConfigError, InputError, ManifestError
from data_manifests.export import FORMATS, Exported, Order, export, forget
from data_manifests.outgoing import ExportConfig
from data_manifests.records import Export, Sample

ALL = tuple(FORMATS)
SMALL = ExportConfig(shard_samples=2)


def made(gallery: Any, name: str, config: ExportConfig = SMALL, **order: Any) -> Exported:
    asked = Order(name, gallery.place.root.parent / name, **order)
    return export(gallery.store, gallery.place.media, asked, config, gallery.now)


def child(code: str, *arguments: object, cache: Path) -> Any:
    """What a Python of its own prints as JSON, without network."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(cache)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **offline},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ALL)
def test_every_sample_goes_out_or_is_left_out_for_a_reason(gallery: Any, name: str) -> None:
    done = made(gallery, name, ExportConfig(purpose="publish", splits=("train", "validation")))
    assert done.splits == {"train": 6, "validation": 0}
    assert done.left_out == {"consent_other_purpose": 1, "split_not_asked_for": 1}
    assert done.total == 8
    assert gallery.store.read(Export) == [done.row]
    assert "portrait" in (Path(done.row.path) / "README.md").read_text()


@pytest.mark.parametrize("name", ALL)
def test_a_missing_or_changed_crop_is_left_out(gallery: Any, name: str) -> None:
    first, second, third, *_ = gallery.samples
    (gallery.place.media / first.crop_path).unlink()
    (gallery.place.media / second.crop_path).write_bytes(b"something else")
    outside = gallery.place.root.parent / "secret.png"
    outside.write_bytes(b"secret")
    stolen = hashlib.sha256(b"secret").hexdigest()
    row = replace(third, crop_path="../../secret.png", crop_sha256=stolen)
    gallery.store.upsert(Sample, [row], why="tampered")
    done = made(gallery, name)
    assert done.left_out == {"crop_damaged": 1, "crop_missing": 1, "crop_outside_media": 1}
    assert sum(done.splits.values()) == 5
    assert not any(b"secret" in data for data in files_in(Path(done.row.path)).values())


def test_consent_is_asked_at_the_time_of_the_export(gallery: Any) -> None:
    withdraw(gallery.store, "inside", gallery.now)
    assert made(gallery, "webdataset").left_out == {"consent_withdrawn": 2}
    withdraw(gallery.store, "open", gallery.now)
    with pytest.raises(ManifestError, match="None of 8 samples may go out: 8 consent_withdrawn"):
        made(gallery, "parquet")
    assert [e.format for e in gallery.store.read(Export)] == ["webdataset"]
    assert not (gallery.place.root.parent / "parquet").exists()


LOAD = """
import json, sys
from datasets import Image, load_dataset
found = load_dataset(sys.argv[1])
rows = [dict(r, image=list(r["image"].size)) for split in found.values() for r in split]
kinds = {split: isinstance(found[split].features["image"], Image) for split in found}
print(json.dumps({"rows": rows, "kinds": kinds, "features": str(found["train"].features)}))
"""


def test_datasets_loads_pictures_splits_and_types_offline(gallery: Any, tmp_path: Path) -> None:
    folder = made(gallery, "datasets").row.path
    assert len(list(Path(folder).glob("data/train-*.parquet"))) == 3
    loaded = child(LOAD, folder, cache=tmp_path / "cache")
    assert loaded["kinds"] == {"train": True, "validation": True, "test": True}
    rows = {row["sample_id"]: row for row in loaded["rows"]}
    assert set(rows) == {s.sample_id for s in gallery.samples}
    for sample in gallery.samples:
        row = rows[sample.sample_id]
        assert (row["image"], row["caption"]) == ([48, 48], sample.caption)
        assert (row["split"], tuple(row["semantic_tags"])) == (sample.split, sample.semantic_tags)
        assert row["left_eye_box"] == {"left": 1.0, "top": 2.0, "right": 3.5, "bottom": 4.0}
        assert [p["x"] for p in row["landmarks"]] == [0.5, 1.5, 2.5, 3.5, 4.5]
        assert (row["mouth_box"] is None) == (sample.mouth_box is None)
        assert not {"photo_id", "person", "consent_id", "annotation_ids"} & set(row)


COUNT = """
import json, sys
from datasets import load_dataset
folders = enumerate(sys.argv[2:])
found = [load_dataset(folder, cache_dir=f"{sys.argv[1]}{n}") for n, folder in folders]
print(json.dumps([{split: rows.num_rows for split, rows in one.items()} for one in found]))
"""


def test_every_format_loads_with_datasets_before_and_after_forgetting(
    gallery: Any, tmp_path: Path
) -> None:
    rows = [made(gallery, name).row for name in ALL]
    for name in ("parquet", "webdataset"):
        order = Order(name, tmp_path / f"whole {name}")
        rows.append(export(gallery.store, gallery.place.media, order, SMALL, gallery.now).row)
    ids = frozenset(s.sample_id for s in gallery.samples if s.person == "person 3")
    for row in rows[:3]:
        forget(row, ids, gallery.store, gallery.place.media)
    folders = [row.path for row in rows]
    counts = child(COUNT, tmp_path / "cache", *folders, cache=tmp_path)
    assert counts == [{"train": 6}] * 3 + [{"train": 6, "validation": 1, "test": 1}] * 2


SHARDS = """
import json, sys, webdataset
read = webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode("pil")
read = read.to_tuple("png", "json", "txt")
print(json.dumps([[list(picture.size), facts, words] for picture, facts, words in read]))
"""


def test_webdataset_reads_the_shards(gallery: Any, tmp_path: Path) -> None:
    folder = Path(made(gallery, "webdataset").row.path)
    shards = sorted(folder.glob("*.tar"))
    assert [s.name for s in shards if "train" in s.name] == [
        f"train-00000{n}.tar" for n in range(3)
    ]
    told = child(SHARDS, *shards, cache=tmp_path)
    assert {facts["sample_id"]: words for _, facts, words in told} == {
        s.sample_id: s.caption for s in gallery.samples
    }
    assert all(size == [48, 48] for size, _, _ in told)


def test_the_same_samples_give_the_same_shards_at_any_time(gallery: Any) -> None:
    folder = Path(made(gallery, "webdataset").row.path)
    before = {name: data for name, data in files_in(folder).items() if name.endswith(".tar")}
    made(gallery, "webdataset", overwrite=True)
    assert before == {n: d for n, d in files_in(folder).items() if n.endswith(".tar")}
    with tarfile.open(folder / "train-000000.tar") as tar:
        heads = tar.getmembers()
    assert {(h.mtime, h.uid, h.gid, h.uname, h.mode) for h in heads} == {(0, 0, 0, "", 0o644)}


def test_a_jpeg_xl_crop_becomes_a_png_of_the_same_pixels(gallery: Any) -> None:
    codecs = pytest.importorskip("imagecodecs")
    from data_manifests.media import write_media

    sample = gallery.samples[0]
    pixels_HWC = codecs.png_decode((gallery.place.media / sample.crop_path).read_bytes())
    data = codecs.jpegxl_encode(pixels_HWC, lossless=True)
    path, sha256 = write_media(gallery.place.media, "crops", data, ".jxl")
    row = replace(sample, crop_path=path, crop_sha256=sha256)
    gallery.store.upsert(Sample, [row], why="test")
    folder = Path(made(gallery, "datasets").row.path)
    tables = [pq.read_table(p) for p in sorted(folder.glob("data/*.parquet"))]
    rows = {r["sample_id"]: r for t in tables for r in t.to_pylist()}
    image = rows[sample.sample_id]["image"]
    assert image["path"].endswith(".png")
    assert (codecs.png_decode(image["bytes"]) == pixels_HWC).all()


def test_parquet_tells_every_field_and_holds_every_column(gallery: Any) -> None:
    folder = Path(made(gallery, "parquet").row.path)
    table = pa.concat_tables(
        pq.read_table(folder / f"{split}.parquet") for split in ("train", "validation", "test")
    )
    assert table.sort_by("sample_id").equals(gallery.store.table(Sample))
    assert all((f.metadata or {}).get(b"about") for f in table.schema)
    assert table.schema.field("width").metadata[b"unit"] == b"px"
    told = json.loads(pq.read_schema(folder / "train.parquet").metadata[b"authface.fields"])
    assert told["native_width"]["unit"] == "px"


@pytest.mark.parametrize("name", ["parquet", "datasets"])
def test_a_flipped_bit_is_never_read_as_data(gallery: Any, name: str, tmp_path: Path) -> None:
    """A page's checksum gives away its content, and SHA256SUMS everything: headers and footer."""
    folder = Path(made(gallery, name, ExportConfig()).row.path)
    path = next(iter(sorted(folder.rglob("train*.parquet"))))
    good, data = pq.read_table(path), path.read_bytes()
    sums = (folder / "SHA256SUMS").read_text()
    pages = len(data) - 8 - int.from_bytes(data[-8:-4], "little")  # the footer comes after them
    rng, damaged, silent, refused = random.Random(7), tmp_path / "damaged.parquet", 0, 0
    for _ in range(300):
        flipped = bytearray(data)
        flipped[rng.randrange(pages)] ^= 1 << rng.randrange(8)
        assert hashlib.sha256(flipped).hexdigest() not in sums
        damaged.write_bytes(flipped)
        try:
            silent += not pq.read_table(damaged, page_checksum_verification=True).equals(good)
        except (OSError, pa.ArrowException):
            refused += 1
    assert silent <= 1  # a page's own header has no checksum
    assert refused > 150


@pytest.mark.parametrize("name", ALL)
def test_the_sums_prove_every_file(gallery: Any, name: str) -> None:
    folder = Path(made(gallery, name).row.path)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert listed == set(files_in(folder)) - {"SHA256SUMS"}


def test_a_place_that_is_taken_is_refused(gallery: Any) -> None:
    mine = gallery.place.root.parent / "parquet"
    mine.mkdir()
    (mine / "diary.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="it is no export"):
            made(gallery, "parquet", overwrite=overwrite)
    assert (mine / "diary.txt").read_text() == "mine"
    made(gallery, "datasets")
    with pytest.raises(InputError, match="--overwrite"):
        made(gallery, "datasets")
    assert [e.format for e in gallery.store.read(Export)] == ["datasets"]


def test_overwriting_by_another_format_leaves_one_row(gallery: Any, tmp_path: Path) -> None:
    for name in ("parquet", "webdataset"):
        order = Order(name, tmp_path / "out", overwrite=True)
        export(gallery.store, gallery.place.media, order, SMALL, gallery.now)
    assert [e.format for e in gallery.store.read(Export)] == ["webdataset"]
    assert not list((tmp_path / "out").glob("*.parquet"))


@pytest.mark.parametrize(
    ("order", "config", "said"),
    [
        (Order("csv", Path("x")), ExportConfig(), "parquet, datasets, webdataset"),
        (Order("parquet", Path("x")), ExportConfig(purpose="sale"), "publish"),
        (Order("parquet", Path("x")), ExportConfig(splits=("dev",)), "validation"),
    ],
)
def test_what_is_not_known_is_named(
    gallery: Any, order: Order, config: ExportConfig, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        export(gallery.store, gallery.place.media, order, config, gallery.now)


def test_an_older_version_can_be_exported(gallery: Any) -> None:
    old = gallery.store.version(Sample)
    gallery.store.remove(Sample, [gallery.samples[0].sample_id], why="test")
    assert made(gallery, "parquet").total == 7
    assert made(gallery, "parquet", version=old, overwrite=True).total == 8


KILLED = """
import os, signal, sys
from datetime import datetime, UTC
from pathlib import Path
from data_manifests import export_folder, media
from data_manifests.export import Order, export
from data_manifests.outgoing import ExportConfig
from data_manifests.store import Store
root, name, when = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
count = 0
def counted(original):
    def call(*given, **named):
        global count
        count += 1
        if count == when:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*given, **named)
    return call
Path.replace, Path.rename = counted(Path.replace), counted(Path.rename)
os.fsync = counted(os.fsync)
now = datetime(2026, 6, 1, 12, tzinfo=UTC)
order = Order(name, root / "out", overwrite=True)
export(Store(root / "w/tables"), root / "w/media", order, ExportConfig(shard_samples=2), now)
print(count)
"""


@pytest.mark.parametrize(
    ("name", "kills"), [("datasets", 3), pytest.param("webdataset", 20, marks=pytest.mark.slow)]
)
def test_a_killed_export_leaves_no_half_folder_and_a_rerun_works(
    gallery: Any, name: str, kills: int, tmp_path: Path
) -> None:
    def run(when: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", KILLED, str(tmp_path), name, str(when)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    out = tmp_path / "out"
    run(0)  # the first one makes the table of exports too, which takes more steps
    whole = run(0)
    assert whole.returncode == 0, whole.stderr
    good, steps = files_in(out), int(whole.stdout)
    for when in random.Random(1).sample(range(1, steps + 1), min(kills, steps)):
        assert run(when).returncode == -signal.SIGKILL
        # The folder holds one whole export, or waits as .out.old for the next to put it back.
        assert (files_in(out) if out.exists() else files_in(tmp_path / ".out.old")) == good
        assert [e.path for e in gallery.store.read(Export)] == [str(out)]
    assert run(0).returncode == 0
    assert files_in(out) == good
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "w"]


def traces(sample: Sample, media: Path) -> list[bytes]:
    """What a forgotten sample must not leave: ids, hashes, words, and pieces of its picture."""
    picture = (media / sample.crop_path).read_bytes()
    words = (sample.sample_id, sample.photo_id, sample.crop_sha256, sample.caption)
    return [
        *(w.encode() for w in words),
        json.dumps(sample.caption).encode()[1:-1],
        picture[100:160],
    ]


def searched(folder: Path) -> list[bytes]:
    """Every file as it is, and every Parquet file's columns uncompressed."""
    found = list(files_in(folder).values())
    for path in folder.rglob("*.parquet"):
        found.append(repr(pq.read_table(path).to_pylist()).encode())
        found.append(
            "".join(str(r.get("caption")) for r in pq.read_table(path).to_pylist()).encode()
        )
    return found


def test_the_search_for_traces_can_find_them(gallery: Any) -> None:
    for name in ALL:
        held = searched(Path(made(gallery, name).row.path))
        for sample in gallery.samples:
            marks = traces(sample, gallery.place.media)
            assert any(marks[0] in data for data in held)
            assert any(marks[3] in data for data in held)
            assert name == "parquet" or any(marks[-1] in data for data in held)


@pytest.mark.parametrize("name", ALL)
def test_forgotten_samples_are_nowhere_in_the_folder(gallery: Any, name: str) -> None:
    done = made(gallery, name)
    folder = Path(done.row.path)
    going = [s for s in gallery.samples if s.person in ("person 0", "person 3")]
    ids = frozenset(s.sample_id for s in going)
    before = files_in(folder)
    said = forget(done.row, ids, gallery.store, gallery.place.media)
    assert "4 samples forgotten" in said
    held = searched(folder)
    for sample in going:
        for trace in traces(sample, gallery.place.media):
            assert not any(trace in data for data in held), trace
    staying = {s.sample_id for s in gallery.samples} - ids
    assert FORMATS[name].ids(folder) == staying
    assert not list(folder.rglob("test*"))  # its only sample is gone
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    card = (folder / "README.md").read_text()
    assert "4 aligned portraits" in card
    assert "Erased from this copy since it was made: 4 samples." in card
    untouched = {n for n, data in files_in(folder).items() if before.get(n) == data}
    assert untouched or name == "parquet"  # shards without them are not written again


@pytest.mark.parametrize("name", ALL)
def test_forgetting_again_or_after_a_kill_ends_the_same(
    gallery: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = made(gallery, name)
    folder, ids = Path(done.row.path), frozenset(s.sample_id for s in gallery.samples[::2])
    forget(done.row, ids, gallery.store, gallery.place.media)
    good = files_in(folder)
    forget(done.row, ids, gallery.store, gallery.place.media)
    assert files_in(folder) == good
    made(gallery, name, overwrite=True)
    broken_at = interrupted(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        forget(done.row, ids, gallery.store, gallery.place.media)
    broken_at()
    (folder / ".part-left").write_bytes(b"left by a kill")
    forget(done.row, ids, gallery.store, gallery.place.media)
    assert files_in(folder) == good


def interrupted(monkeypatch: pytest.MonkeyPatch, when: int) -> Callable[[], None]:
    """Stop at the nth file that takes its final name; call the answer to let go."""
    original, count = Path.replace, [0]

    def replace_file(self: Path, target: Path) -> Path:
        count[0] += 1
        if count[0] == when:
            raise KeyboardInterrupt
        return original(self, target)

    monkeypatch.setattr(Path, "replace", replace_file)
    return lambda: monkeypatch.setattr(Path, "replace", original)


def test_a_card_is_made_again_when_the_version_it_was_made_of_is_gone(gallery: Any) -> None:
    done = made(gallery, "webdataset")
    first, second, *_ = gallery.samples
    gallery.store.remove(Sample, [first.sample_id, second.sample_id], why="no longer chosen")
    table = gallery.place.tables / "samples"
    standing = {Path(p).name for p in DeltaTable(table).file_uris()}
    for path in table.glob("*.parquet"):
        if path.name not in standing:
            path.unlink()  # as an erasure's vacuum does
    forget(done.row, frozenset({first.sample_id}), gallery.store, gallery.place.media)
    card = (Path(done.row.path) / "README.md").read_text()
    assert "6 aligned portraits" in card
    assert "In no table any more, and so not counted above: 1 sample of this copy." in card


def test_everybody_can_be_forgotten(gallery: Any) -> None:
    for name in ALL:
        done = made(gallery, name)
        ids = frozenset(s.sample_id for s in gallery.samples)
        forget(done.row, ids, gallery.store, gallery.place.media)
        left = set(files_in(Path(done.row.path)))
        assert left == {"README.md", "export.json", "SHA256SUMS"}


@pytest.mark.parametrize("facts", ["[]", "{", '{"format": "csv"}', None])
def test_a_folder_without_facts_that_can_be_read_is_never_taken_as_done(
    gallery: Any, facts: str | None
) -> None:
    done = made(gallery, "parquet")
    folder, ids = Path(done.row.path), frozenset({gallery.samples[0].sample_id})
    (folder / export_folder.FACTS).unlink()
    if facts is not None:
        (folder / export_folder.FACTS).write_text(facts)
    before = files_in(folder)
    with pytest.raises(ManifestError, match="no export that can be read"):
        forget(done.row, ids, gallery.store, gallery.place.media)
    assert files_in(folder) == before


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_forgotten_where_data_is_not_what_its_sums_say(gallery: Any, name: str) -> None:
    """A tar file with a bad head ends there without a word: what comes after it would be lost."""
    done = made(gallery, name, ExportConfig())
    folder, ids = Path(done.row.path), frozenset({gallery.samples[0].sample_id})
    path = next(iter(sorted(folder.rglob("train*"))))
    good = path.read_bytes()
    bad = bytearray(good)
    bad[200 + (second_sample(path) if name == "webdataset" else 0)] ^= 0xFF
    path.write_bytes(bad)
    before = files_in(folder)
    with pytest.raises(ManifestError, match=path.name):
        forget(done.row, ids, gallery.store, gallery.place.media)
    assert files_in(folder) == before
    path.unlink()
    with pytest.raises(ManifestError, match=path.name):
        forget(done.row, ids, gallery.store, gallery.place.media)
    path.write_bytes(good)
    (folder / "README.md").write_text("a card that somebody has edited")
    assert "1 samples" in forget(done.row, ids, gallery.store, gallery.place.media)
    assert sorted(folder.parent.glob(".*")) == []


def second_sample(path: Path) -> int:
    """Where the second sample of a tar file begins, in bytes."""
    with tarfile.open(path) as tar:
        return tar.getmembers()[3].offset


def test_an_export_that_was_moved_and_linked_is_forgotten_where_it_lies(
    gallery: Any, tmp_path: Path
) -> None:
    done = made(gallery, "webdataset")
    folder, ids = Path(done.row.path), frozenset({gallery.samples[0].sample_id})
    (tmp_path / "disk").mkdir()
    moved = folder.rename(tmp_path / "disk/moved")
    folder.symlink_to(moved)
    forget(done.row, ids, gallery.store, gallery.place.media)
    assert folder.is_symlink()
    assert not ids & FORMATS["webdataset"].ids(moved)


def test_the_formats_that_a_folder_may_tell_of_are_those_there_are() -> None:
    assert tuple(FORMATS) == export_folder.NAMES


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("export.json", '{"format": "csv"}', "it is no export"),
        ("export.json", '{"format": "parquet"}', "it is no export"),
        ("diary.txt", "mine", "holds diary.txt"),
        ("notes/diary.txt", "mine", "holds notes/diary.txt"),
        ("SHA256SUMS", "", "which is not of the export"),
    ],
)
def test_overwriting_never_takes_files_of_others_away(
    gallery: Any, file: str, text: str, said: str
) -> None:
    folder = Path(made(gallery, "parquet").row.path)
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(text)
    before = files_in(folder)
    with pytest.raises(InputError, match=said):
        made(gallery, "parquet", overwrite=True)
    assert files_in(folder) == before


@pytest.mark.parametrize("ending", ["old", "part"])
def test_a_hidden_folder_of_others_beside_an_export_stays(gallery: Any, ending: str) -> None:
    done = made(gallery, "parquet")
    folder, ids = Path(done.row.path), frozenset({gallery.samples[0].sample_id})
    beside = folder.with_name(f".parquet.{ending}")
    beside.mkdir()
    (beside / "diary.txt").write_text("mine")
    with pytest.raises(ManifestError, match=f".parquet.{ending} is in the way"):
        made(gallery, "parquet", overwrite=True)
    with pytest.raises(ManifestError, match=f".parquet.{ending} is in the way"):
        forget(done.row, ids, gallery.store, gallery.place.media)
    assert files_in(beside) == {"diary.txt": b"mine"}


def test_an_export_that_was_moved_away_is_said(gallery: Any) -> None:
    done = made(gallery, "parquet")
    folder, ids = Path(done.row.path), frozenset({gallery.samples[0].sample_id})
    folder.rename(folder.with_name("elsewhere"))
    part = folder.with_name(".parquet.part")
    part.mkdir()
    (part / "train.parquet").write_bytes(b"half written when it was killed")
    (part / export_folder.FACTS).write_text('{"unfinished": true}')
    said = forget(done.row, ids, gallery.store, gallery.place.media)
    assert "is not there any more" in said
    assert not part.exists()


def test_nothing_is_forgotten_while_an_export_is_written(gallery: Any) -> None:
    done = made(gallery, "parquet")
    folder = Path(done.row.path)
    with (
        export_folder.new_folder(folder, overwrite=True) as part,
        pytest.raises(ManifestError, match="being written"),
    ):
        forget(done.row, frozenset(), gallery.store, gallery.place.media)
    assert not part.exists()
