"""Arrow schemas derived from the nouns."""

from __future__ import annotations

import pyarrow as pa
import pytest

from data_manifests.records import Face, Photo
from data_manifests.schema import arrow_schema, key_of
from data_manifests.store import TABLES


@pytest.mark.parametrize("noun", TABLES, ids=lambda n: n.__name__)
def test_every_noun_has_one_key_and_describes_each_column(noun: type) -> None:
    schema = arrow_schema(noun)
    assert key_of(noun) in schema.names
    assert all(field.metadata and field.metadata[b"about"] for field in schema)


def test_optional_columns_may_be_null_and_others_may_not() -> None:
    schema = arrow_schema(Photo)
    assert schema.field("consent_id").nullable
    assert not schema.field("photo_id").nullable


def test_units_travel_with_the_column() -> None:
    assert arrow_schema(Photo).field("width").metadata[b"unit"] == b"px"


def test_nested_nouns_become_structs_and_lists() -> None:
    schema = arrow_schema(Face)
    assert pa.types.is_struct(schema.field("box").type)
    assert pa.types.is_list(schema.field("landmarks").type)
