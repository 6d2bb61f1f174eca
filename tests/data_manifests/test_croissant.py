"""Croissant: the validator passes it without a word, and its reader gives back the samples."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data_manifests.export import Order, export, forget
from data_manifests.outgoing import ExportConfig

READ = """
import json, socket, sys
def no_network(*_): raise OSError("no network here")
socket.socket.connect = no_network
import mlcroissant
told = []
for path in sys.argv[1:]:
    found = mlcroissant.Dataset(path)
    rows = []
    for record in found.records("samples"):
        row = {k.split("/", 1)[1]: v for k, v in record.items()}
        if "image" in row:
            row["image"] = list(row["image"].size)
        rows.append(row)
    issues = found.metadata.ctx.issues
    errors, warnings = sorted(issues.errors), sorted(issues.warnings)
    told.append({"rows": rows, "errors": errors, "warnings": warnings})
print(json.dumps(told, default=lambda v: v.decode() if isinstance(v, bytes) else str(v)))
"""


def read(*folders: str) -> list[dict[str, Any]]:
    files = [f"{folder}/croissant.json" for folder in folders]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, *files],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_the_validator_passes_it_and_the_reader_gives_the_samples_back(gallery: Any) -> None:
    folders = []
    for name in ("datasets", "parquet"):
        order = Order(name, gallery.place.root.parent / name)
        config = ExportConfig(shard_samples=4)
        done = export(gallery.store, gallery.place.media, order, config, gallery.now)
        folders.append(done.row.path)
    for told, name in zip(read(*folders), ("datasets", "parquet"), strict=True):
        assert told["errors"] == []
        assert [w for w in told["warnings"] if "citeAs" not in w] == []
        rows = {row["sample_id"]: row for row in told["rows"]}
        assert set(rows) == {s.sample_id for s in gallery.samples}
        for sample in gallery.samples:
            row = rows[sample.sample_id]
            assert row["caption"] == sample.caption
            assert row["semantic_tags"] == list(sample.semantic_tags)
            assert row["left_eye_box"] == {
                f"samples/left_eye_box/{side}": v
                for side, v in (("left", 1.0), ("top", 2.0), ("right", 3.5), ("bottom", 4.0))
            }
            assert [p["samples/landmarks/x"] for p in row["landmarks"]][:2] == [0.5, 1.5]
            assert name == "parquet" or row["image"] == [48, 48]


@pytest.mark.parametrize("name", ["datasets", "parquet"])
def test_it_says_what_the_tables_know(gallery: Any, name: str) -> None:
    order = Order(name, gallery.place.root.parent / name)
    done = export(gallery.store, gallery.place.media, order, ExportConfig(), gallery.now)
    folder = Path(done.row.path)

    def told() -> dict[str, Any]:
        found: dict[str, Any] = json.loads((folder / "croissant.json").read_text())
        return found

    assert told()["license"] == ["CC-BY-4.0"]
    assert told()["datePublished"] == "2026-06-01"
    assert "8 answers of 2 reviewers" in told()["rai:dataAnnotationProtocol"][0]
    assert "4 people" in told()["rai:personalSensitiveInformation"][0]
    assert any("one person only" in gap for gap in told()["rai:dataLimitations"])
    ids = frozenset(s.sample_id for s in gallery.samples if s.person == "person 0")
    forget(done.row, ids, gallery.store, gallery.place.media)
    for file in told()["distribution"]:
        if file["@type"] == "cr:FileObject":
            data = (folder / file["contentUrl"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file["sha256"]
            assert file["contentSize"] == f"{len(data)} B"
    assert "3 people" in told()["rai:personalSensitiveInformation"][0]
