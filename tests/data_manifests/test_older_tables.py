"""A table that an older release wrote, with fewer columns, is read, changed and added to."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from data_manifests.records import Box as Rectangle
from data_manifests.records import Capture, Cover, Crop, Face, Photo, Verdict
from data_manifests.schema import arrow_schema, table_from_records
from data_manifests.store import TABLES, Store

# What 0.1 did not have yet: columns of the photo, and fields inside its capture and a face's crops.
NEW_COLUMNS = {"rights", "xmp_pick", "keywords", "modified_ns", "notes", "shot_id", "descriptor"}
NEW_INSIDE = {"body_serial", "lens_serial", "bit_depth", "covers"}


def old_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(old_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct(
            [
                f.with_type(old_type(f.type)).with_metadata({"about": "as it was"})
                for f in kind
                if f.name not in NEW_INSIDE
            ]
        )
    return kind


def old_schema(noun: type) -> pa.Schema:
    """As the first release had it: also stricter, since only optional fields could be missing."""
    strict = {f.name for f in fields(noun) if f.default is not None}
    return pa.schema(
        [
            f.with_type(old_type(f.type))
            .with_nullable(f.name not in strict)
            .with_metadata({"about": "as it was described then"})
            for f in arrow_schema(noun)
            if f.name not in NEW_COLUMNS
        ]
    )


def cut(value: Any, kind: pa.DataType) -> Any:
    if pa.types.is_list(kind) and value is not None:
        return [cut(v, kind.value_type) for v in value]
    if pa.types.is_struct(kind) and value is not None:
        return {f.name: cut(value[f.name], f.type) for f in kind}
    return value


def write_old(folder: Path, noun: type, records: list[Any]) -> None:
    schema = old_schema(noun)
    rows = table_from_records(noun, records).to_pylist()
    old = [{f.name: cut(row[f.name], f.type) for f in schema} for row in rows]
    write_deltalake(folder / TABLES[noun], pa.Table.from_pylist(old, schema=schema))


@pytest.fixture
def photos() -> list[Photo]:
    gate = Verdict(gate="long_side", value=9000.0, threshold=8192.0, keep=True)
    return [
        Photo(
            photo_id=f"p{i}",
            path=f"/a/{i}.jpg",
            state="kept",
            size_bytes=i,
            capture=Capture(camera="Camera", iso=100),
            verdicts=(gate,),
        )
        for i in range(4)
    ]


def test_a_row_of_an_older_table_is_changed_and_the_others_stay(
    tmp_path: Path, photos: list[Photo]
) -> None:
    write_old(tmp_path, Photo, photos)
    store = Store(tmp_path)
    assert store.read(Photo) == photos
    capture = Capture(camera="Camera", iso=100, body_serial="ab12")
    changed = replace(photos[1], xmp_pick=1, keywords=("a",), capture=capture, modified_ns=7)
    added = replace(photos[0], photo_id="p9", shot_id="s")
    done = store.upsert(Photo, [changed, added], why="newer release")
    assert (done.added, done.changed) == (1, 1)
    assert store.read(Photo) == [photos[0], changed, *photos[2:], added]
    assert not store.unsealed(Photo)


def test_fields_inside_lists_are_taken_in_too(tmp_path: Path) -> None:
    crop = Crop(path="c", sha256="s", kind="tile", width=1, height=1, matrix=(1.0,) * 6)
    faces = [
        Face(
            face_id=f"f{i}",
            photo_id="p",
            index=i,
            box=Rectangle(left=0.0, top=0.0, right=1.0, bottom=1.0),
            finder="haar",
            crops=(crop, crop),
        )
        for i in range(3)
    ]
    write_old(tmp_path, Face, faces)
    store = Store(tmp_path)
    shown = replace(crop, covers=(Cover(part="hair", share=0.5),), bit_depth=16)
    changed = replace(faces[2], crops=(shown, crop))
    store.upsert(Face, [changed], why="newer release")
    assert store.read(Face) == [*faces[:2], changed]


def test_a_table_of_this_release_is_not_widened_again(tmp_path: Path, photos: list[Photo]) -> None:
    write_old(tmp_path, Photo, photos)
    store = Store(tmp_path)
    store.upsert(Photo, [replace(photos[0], xmp_pick=1)], why="widens it")
    before = store.version(Photo)
    assert before is not None
    store.upsert(Photo, [replace(photos[0], xmp_pick=0)], why="does not")
    assert store.version(Photo) == before + 2  # the change and its seal
    assert len(DeltaTable(tmp_path / "photos").schema().fields) >= len(fields(Photo))
