"""Tables of every released schema stay readable, and are brought up by named steps."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from deltalake import DeltaTable

from data_manifests.errors import ManifestError
from data_manifests.log import commits
from data_manifests.migrations import STEPS, schema_version
from data_manifests.records import Photo, Sample
from data_manifests.schema import SCHEMA_PROPERTY, SCHEMA_VERSION, arrow_schema
from data_manifests.store import TABLES, Store

spec = importlib.util.spec_from_file_location(
    "golden_rows", Path(__file__).parent / "golden_rows.py"
)
assert spec is not None
assert spec.loader is not None
golden_rows = importlib.util.module_from_spec(spec)
spec.loader.exec_module(golden_rows)
GOLDEN, rows = golden_rows.GOLDEN, golden_rows.rows

VERSIONS = range(1, SCHEMA_VERSION + 1)


@pytest.fixture
def golden(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    shutil.copytree(GOLDEN / f"v{request.param}", tmp_path / "tables")
    return Store(tmp_path / "tables")


@pytest.mark.parametrize("version", VERSIONS)
def test_tables_of_every_released_schema_read_as_they_were_written(version: int) -> None:
    store = Store(GOLDEN / f"v{version}")
    expected = rows(version)
    assert {n: store.read(n) for n in TABLES if store.version(n) is not None} == expected


@pytest.mark.parametrize("golden", VERSIONS, indirect=True)
def test_a_write_brings_an_older_table_up_and_keeps_its_rows(golden: Store) -> None:
    before = golden.read(Photo)
    golden.upsert(Photo, [replace(before[0], xmp_pick=1)], why="this release")
    assert golden.read(Photo) == [replace(before[0], xmp_pick=1), before[1]]
    opened = DeltaTable(golden.folder / "photos")
    assert schema_version(opened) == SCHEMA_VERSION
    assert set(opened.schema().to_arrow().names) == set(arrow_schema(Photo).names)
    assert not golden.unsealed(Photo)


@pytest.mark.parametrize("golden", [1], indirect=True)
def test_each_migration_stands_in_the_log_by_name_and_runs_once(golden: Store) -> None:
    for _ in range(2):
        golden.upsert(Sample, golden.read(Sample), why="nothing differs")
    said = [str(c.info.get("authface_why", "")) for c in commits(golden.folder / "samples")]
    for step in STEPS:
        assert 1 <= said.count(f"migration {step.name}") <= 2  # its work, and the new number


def test_the_newest_golden_tables_have_the_schema_of_today() -> None:
    """Fails when a noun changed without a new SCHEMA_VERSION, a step and a golden folder."""
    for noun, name in TABLES.items():
        stored = DeltaTable(GOLDEN / f"v{SCHEMA_VERSION}" / name).schema().to_arrow()
        assert list(stored.names) == list(arrow_schema(noun).names), (
            f"{noun.__name__} changed: raise SCHEMA_VERSION, add a step to migrations.py and run"
            f" tests/data_manifests/golden_rows.py v{SCHEMA_VERSION + 1}"
        )


@pytest.mark.parametrize("golden", [SCHEMA_VERSION], indirect=True)
def test_a_table_of_a_newer_schema_is_refused_and_left_alone(golden: Store) -> None:
    table = DeltaTable(golden.folder / "photos")
    table.alter.set_table_properties({SCHEMA_PROPERTY: "99"}, raise_if_not_exists=False)
    version = DeltaTable(golden.folder / "photos").version()
    with pytest.raises(ManifestError, match="newer AuthFace: its schema is 99"):
        golden.read(Photo)
    with pytest.raises(ManifestError, match="newer AuthFace"):
        golden.upsert(Photo, rows(1)[Photo], why="must not")
    assert DeltaTable(golden.folder / "photos").version() == version
