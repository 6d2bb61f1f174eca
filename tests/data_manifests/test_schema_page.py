"""The page on tables is what the nouns say, and a table itself tells the same to any engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from data_manifests.records import Box, Crop, Face, Photo, Pose, Sample, Verdict
from data_manifests.schema import arrow_schema
from data_manifests.schema_page import COMMAND, columns_of, schema_page
from data_manifests.store import TABLES, Store

PAGE = Path(__file__).parents[2] / "docs" / "schema.md"


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text() == schema_page(), f"docs/schema.md is stale: run `{COMMAND}`"


def test_every_column_of_every_table_is_described() -> None:
    for noun in TABLES:
        for column in columns_of(noun):
            assert column.about, f"{noun.__name__}.{column.name} has no description"


def test_the_page_tells_every_table_key_and_structure_once() -> None:
    page = schema_page()
    for name in TABLES.values():
        assert page.count(f"\n## {name}\n") == 1
    for structure in (Box, Crop, Pose, Verdict):
        assert page.count(f"\n### {structure.__name__}\n") == 1
    assert "| `crops` | list of [Crop](#crop) |" in page
    assert "its key is `photo_id`" in page


def _notes(fields: Iterator[pa.Field] | pa.Schema, within: str = "") -> dict[str, dict[str, str]]:
    """about and unit by path, into structs and lists."""
    found: dict[str, dict[str, str]] = {}
    for field in fields:
        metadata = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
        found[within + field.name] = {k: metadata[k] for k in ("about", "unit") if k in metadata}
        kind = field.type
        while pa.types.is_list(kind):
            kind = kind.value_type
        if pa.types.is_struct(kind):
            found |= _notes(iter(kind), f"{within}{field.name}.")
    return found


def _example(noun: type) -> object:
    photo = Photo(photo_id="p", path="/p.jpg", state="kept", size_bytes=1)
    box = Box(left=0, top=0, right=1, bottom=1)
    face = Face(face_id="f", photo_id="p", index=0, box=box, finder="test")
    sample = Sample(
        sample_id="s",
        photo_id="p",
        face_id="f",
        crop_path="c",
        crop_sha256="c",
        width=1,
        height=1,
        native_width=1,
        native_height=1,
        split="train",
        consent_id="c",
    )
    return next(r for r in (photo, face, sample) if isinstance(r, noun))


@pytest.mark.parametrize("noun", [Photo, Face, Sample])
def test_descriptions_and_units_reach_any_reader_of_the_table(noun: type, tmp_path: Path) -> None:
    Store(tmp_path).upsert(noun, [_example(noun)], why="test")
    wanted = _notes(arrow_schema(noun))
    assert all(note["about"] for note in wanted.values())
    table = DeltaTable(tmp_path / TABLES[noun])
    assert _notes(pa.schema(table.schema().to_arrow())) == wanted


@pytest.mark.parametrize("noun", [Photo, Face, Sample])
def test_descriptions_and_units_come_with_the_rows(noun: type, tmp_path: Path) -> None:
    """By Delta's log: the Parquet files of a MERGE keep only those inside nested columns."""
    store = Store(tmp_path)
    store.upsert(noun, [_example(noun)], why="test")
    assert _notes(store.table(noun).schema) == _notes(arrow_schema(noun))


def test_a_noun_is_told_by_its_docstring() -> None:
    for noun in TABLES:
        assert dataclasses.is_dataclass(noun)
        assert " ".join((noun.__doc__ or "").split()) in schema_page()
