from __future__ import annotations

import dataclasses
import json

import pytest
from typer.testing import CliRunner, Result

from authface.cli import app
from data_manifests.errors import AuthFaceError, ConfigError
from data_manifests.media import Workspace
from data_manifests.records import Sample
from data_manifests.store import Store

Filled = tuple[Workspace, Store]
SIZE = ("--set", "size=64")


@pytest.fixture
def root(filled: Filled) -> str:
    filled[0].settings.write_text("")
    return str(filled[0].root)


def call(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ("train", *arguments), env={"COLUMNS": "200"})
    if isinstance(result.exception, AuthFaceError):
        raise result.exception
    return result


def counted(text: str) -> dict[str, list[int]]:
    """Rows of the table: hits and misses of latents and words."""
    rows = [line.split("│") for line in text.splitlines() if "│" in line]
    return {r[0].strip(): [int(n) for n in r[1:]] for r in rows if r[1].strip().isdigit()}


def test_the_cache_is_filled_in_parts_used_by_a_run_and_pruned(root: str, filled: Filled) -> None:
    workspace = filled[0]
    filling = ("cache", "restorer", "-w", root, "--base", "tiny")
    halves = [call(*filling, *SIZE, "--shard", part) for part in ("1/2", "2/2")]
    assert [counted(h.output) for h in halves] == [{"latents": [0, 4], "words": [0, 1]}] * 2
    assert "0 stale files" in halves[1].output
    one = call(
        "restorer", "-w", root, "--base", "tiny", *SIZE, "--set", "cache=true", "--steps", "1"
    )
    assert "cache: 10 kept before, 0 made and kept now" in one.output
    larger = call("cache", "restorer", "-w", root, "--base", "tiny", "--set", "size=96").output
    assert "8 stale files" in larger
    assert "--prune" in larger
    pruned = call(*filling, "--set", "size=96", "--prune")
    assert "8 stale files deleted" in pruned.output
    assert counted(pruned.output) == {"latents": [8, 0], "words": [2, 0]}
    assert len(list(workspace.cache.rglob("*.safetensors"))) == 10


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_part_that_is_none_is_refused(shard: str, root: str) -> None:
    with pytest.raises(ConfigError, match="the second of four parts"):
        call("cache", "prior", "-w", root, "--shard", shard)


def test_preflight_says_that_nothing_is_wrong_and_what_room_is_taken(
    root: str, filled: Filled
) -> None:
    result = call("preflight", "prior", "-w", root)
    assert result.exit_code == 0
    assert f"4 samples of samples@{filled[1].version(Sample)}: nothing is wrong" in result.output
    assert "GB are free" in result.output


def test_preflight_counts_held_out_samples_beside_the_others(root: str, filled: Filled) -> None:
    held = dataclasses.replace(filled[1].read(Sample)[0], split="validation")
    filled[1].upsert(Sample, [held], why="test")
    result = call("preflight", "prior", "-w", root, "--set", "validate_every=5")
    assert "3 samples and 1 held out of samples@" in result.output


def test_preflight_notes_crops_that_will_be_enlarged(root: str) -> None:
    asked = ("preflight", "restorer", "-w", root, "--base", "tiny", "--set")
    result = call(*asked, "size=192")
    assert result.exit_code == 0
    assert "4 of 4 crops are smaller than size = 192" in result.output
    assert "the smallest from 160 px" in result.output
    assert "smaller" not in call(*asked, "size=160").output


def test_preflight_tells_all_faults_by_row_and_exits_with_1(root: str, filled: Filled) -> None:
    one, two, *_ = filled[1].read(Sample)
    (filled[0].media / one.crop_path).unlink()
    silent = dataclasses.replace(two, caption="", semantic_tags=())
    filled[1].upsert(Sample, [silent], why="test")
    result = call("preflight", "prior", "-w", root)
    assert result.exit_code == 1
    for said in (one.sample_id, two.sample_id, "neither caption nor tags", "2 faults"):
        assert said in result.output


def test_preflight_of_a_run_looks_at_the_table_it_is_pinned_to(root: str, filled: Filled) -> None:
    folder = filled[0].runs / "p"
    folder.mkdir(parents=True)
    version = filled[1].version(Sample)
    (folder / "config.json").write_text(json.dumps({"tables": {"samples": version}}))
    silent = dataclasses.replace(filled[1].read(Sample)[0], caption="", semantic_tags=())
    filled[1].upsert(Sample, [silent], why="test")
    assert call("preflight", "prior", "-w", root, "--name", "p").exit_code == 0
    assert call("preflight", "prior", "-w", root).exit_code == 1
    with pytest.raises(AuthFaceError, match="There is no run in"):
        call("preflight", "prior", "-w", root, "--name", "q")
