"""What is found before a run: every kind of fault, all of them at once, and nothing changed."""

from __future__ import annotations

import dataclasses
import io
import math
import shutil
from collections import namedtuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_manifests.consent import withdraw
from data_manifests.errors import InputError, StorageError
from data_manifests.media import Workspace, write_media
from data_manifests.records import Box, Point, Sample
from data_manifests.store import Store
from training import preflight
from training.ahead import Ahead, Preflight
from training.config import FacialConfig, PriorConfig, RestorerConfig, resolve
from training.export import copied_bytes
from training.preflight import Fault
from training.run import train_prior, train_restorer

Filled = tuple[Workspace, Store]
PRIOR = PriorConfig()


def look(filled: Filled, base: Path, kind: str = "prior", **settings: Any) -> list[Fault]:
    workspace, store = filled
    config = (PriorConfig if kind == "prior" else RestorerConfig).model_validate(settings)
    found = Preflight(Ahead(kind, config, str(base), store, workspace))
    return [fault for some in found.faults() for fault in some]


def put(filled: Filled, pixels: np.ndarray, sample: Sample, mode: str = "PNG") -> Sample:
    """The sample with another crop, its path and hash true."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, mode)
    path, sha256 = write_media(filled[0].media, "crops", data.getvalue(), f".{mode.lower()}")
    return dataclasses.replace(sample, crop_path=path, crop_sha256=sha256)


def change(filled: Filled, sample: Sample, **changes: Any) -> Sample:
    changed = dataclasses.replace(sample, **changes)
    filled[1].upsert(Sample, [changed], why="test")
    return changed


@pytest.mark.parametrize("kind", ["prior", "restorer"])
def test_good_data_has_no_fault(kind: str, filled: Filled, tiny_base: Path) -> None:
    assert look(filled, tiny_base, kind) == []


def test_all_faults_of_files_are_told_at_once_and_nothing_is_changed(
    filled: Filled, tiny_base: Path
) -> None:
    one, two, three, four = filled[1].read(Sample)
    (filled[0].media / one.crop_path).unlink()
    edited = filled[0].media / two.crop_path
    edited.write_bytes(edited.read_bytes() + b"x")
    grey = put(filled, np.zeros((160, 160), np.uint8), three)
    small = put(filled, np.zeros((96, 96, 3), np.uint8), four)
    filled[1].upsert(Sample, [grey, small], why="test")
    before = {p: p.read_bytes() for p in filled[0].root.rglob("*") if p.is_file()}
    found = {f.row: f for f in look(filled, tiny_base)}
    assert {p: p.read_bytes() for p in filled[0].root.rglob("*") if p.is_file()} == before
    assert "can't be read" in found[one.sample_id].wrong
    assert "changed after the table was made" in found[two.sample_id].wrong
    assert "no colour picture" in found[three.sample_id].wrong
    assert "96 x 96 x 3 (height, width, channels) and not 160 x 160" in found[four.sample_id].wrong
    assert all(f.todo for f in found.values())
    assert len(found) == 4


def test_a_file_that_is_no_picture_is_named(filled: Filled, tiny_base: Path) -> None:
    sample = filled[1].read(Sample)[0]
    path, sha256 = write_media(filled[0].media, "crops", b"\x89PNG and no more", ".png")
    change(filled, sample, crop_path=path, crop_sha256=sha256)
    (fault,) = look(filled, tiny_base)
    assert fault.row == sample.sample_id
    assert "damaged" in fault.wrong


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 100}, "100 x 160, not square"),
        ({"native_width": 0.0}, "size in the original is 0.0 x"),
        (
            {"mouth_box": Box(left=170.0, top=10.0, right=190.0, bottom=30.0)},
            "its mouth box lies outside",
        ),
        (
            {"left_eye_box": Box(left=30.0, top=10.0, right=20.0, bottom=30.0)},
            "its left eye box lies outside",
        ),
        ({"landmarks": (Point(x=1.0, y=1.0),)}, "1 landmarks, not 5"),
        ({"landmarks": (Point(x=math.nan, y=1.0),) * 5}, "not finite"),
        ({"caption": " ", "semantic_tags": ()}, "neither caption nor tags"),
    ],
)
def test_what_a_row_alone_shows(changes: dict[str, Any], said: str, filled: Filled) -> None:
    sample = filled[1].read(Sample)[0]
    assert preflight.row_faults(sample, PRIOR) == []
    (fault,) = preflight.row_faults(dataclasses.replace(sample, **changes), PRIOR)
    assert fault.row == sample.sample_id
    assert said in fault.wrong


def test_a_part_that_reaches_over_the_edge_is_no_fault(filled: Filled) -> None:
    sample = dataclasses.replace(
        filled[1].read(Sample)[0], mouth_box=Box(left=140.0, top=100.0, right=170.0, bottom=130.0)
    )
    assert preflight.row_faults(sample, PRIOR) == []


def test_stage_two_needs_no_words(filled: Filled) -> None:
    silent = dataclasses.replace(filled[1].read(Sample)[0], caption="", semantic_tags=())
    assert preflight.row_faults(silent, RestorerConfig()) == []


def test_landmarks_that_put_the_face_beside_the_crop_are_a_fault(
    filled: Filled, tiny_base: Path
) -> None:
    sample = filled[1].read(Sample)[0]
    away = tuple(Point(x=p.x + 2000, y=p.y) for p in sample.landmarks)
    change(filled, sample, landmarks=away)
    (fault,) = look(filled, tiny_base)
    assert "leave no face in the crop" in fault.wrong


def test_each_sample_without_a_consent_is_named(filled: Filled, tiny_base: Path) -> None:
    withdraw(filled[1], "nasa", datetime(2024, 1, 1, tzinfo=UTC))
    found = look(filled, tiny_base)
    assert {f.row for f in found} == {s.sample_id for s in filled[1].read(Sample)}
    assert all("consent_withdrawn" in f.wrong for f in found)


def hold_out(filled: Filled) -> Sample:
    """One of the samples, for validation from now on."""
    return change(filled, filled[1].read(Sample)[0], split="validation")


@pytest.mark.parametrize("look_by", [{}, {"validate_every": 5}, {"grid_every": 5}])
def test_held_out_samples_are_looked_at_where_the_run_will_look_at_them(
    look_by: dict[str, int], filled: Filled, tiny_base: Path
) -> None:
    held = hold_out(filled)
    assert look(filled, tiny_base, "restorer", **look_by) == []
    (filled[0].media / held.crop_path).write_bytes(b"not what was cut")
    found = look(filled, tiny_base, "restorer", **look_by)
    assert [f.row for f in found] == ([held.sample_id] if look_by else [])


def test_no_more_held_out_samples_are_looked_at_than_the_run_takes(
    filled: Filled, tiny_base: Path
) -> None:
    rows = [dataclasses.replace(s, split="validation") for s in filled[1].read(Sample)[:2]]
    filled[1].upsert(Sample, rows, why="test")
    config = PriorConfig(validate_every=1, validate_on=1)
    found = Preflight(Ahead("prior", config, str(tiny_base), filled[1], filled[0]))
    (held,) = found.held_out
    assert held.sample_id == min(s.sample_id for s in rows)
    assert len(found.samples) == 3


def test_a_run_without_a_validation_split_looks_at_no_crop_twice(
    filled: Filled, tiny_base: Path
) -> None:
    config = PriorConfig(validate_every=1)
    found = Preflight(Ahead("prior", config, str(tiny_base), filled[1], filled[0]))
    assert (len(found.samples), found.held_out) == (4, ())


def test_a_run_refuses_faulty_held_out_rows_before_it_loads_a_model(filled: Filled) -> None:
    held = hold_out(filled)
    change(filled, held, width=100)
    with pytest.raises(InputError, match=r"100 x 160, not square.*train preflight"):
        list(
            train_prior(
                PriorConfig(validate_every=5), store=filled[1], workspace=filled[0], name="p"
            )
        )


def test_a_base_that_is_not_there_is_one_fault_among_the_others(filled: Filled) -> None:
    sample = filled[1].read(Sample)[0]
    change(filled, sample, caption="", semantic_tags=())
    found = look(filled, Path("no-such-base"))
    assert [f.row for f in found] == [sample.sample_id, ""]
    assert "no-such-base" in found[1].wrong


def test_a_run_refuses_faulty_rows_before_it_loads_a_model(filled: Filled) -> None:
    change(
        filled,
        filled[1].read(Sample)[0],
        mouth_box=Box(left=170.0, top=10.0, right=190.0, bottom=30.0),
    )
    with pytest.raises(InputError, match=r"mouth box lies outside.*train preflight"):
        list(train_prior(PRIOR, store=filled[1], workspace=filled[0], name="p"))
    assert not filled[0].runs.exists() or not list(filled[0].runs.iterdir())


# Room on the disk


@pytest.mark.parametrize(
    "config",
    [
        PriorConfig(size=64, steps=1, keep=1),
        PriorConfig(size=64, steps=1, keep=1, lora_rank=64),
        PriorConfig(size=64, steps=1, keep=1, lora_rank=64, dora=True),
        RestorerConfig(size=64, steps=1, keep=1, facial=FacialConfig(width=16)),
        RestorerConfig(size=64, steps=1, keep=1, facial=FacialConfig(gan_weight=0, gram_weight=0)),
    ],
    ids=["prior", "lora", "dora", "restorer", "without the facial loss"],
)
def test_the_room_that_is_foretold_is_the_room_that_is_taken(
    config: PriorConfig | RestorerConfig, filled: Filled, tiny_base: Path
) -> None:
    workspace, store = filled
    kind = "prior" if isinstance(config, PriorConfig) else "restorer"
    foretold = preflight.room(
        workspace.runs / "r",
        preflight.count_weights(resolve(config, tiny=True), tiny_base),
        copied=copied_bytes(tiny_base, kind),
        checkpoints=1,
    )
    place: dict[str, Any] = {"store": store, "workspace": workspace, "name": "r"}
    if isinstance(config, PriorConfig):
        list(train_prior(config.model_copy(update={"base": str(tiny_base)}), **place))
    else:
        list(train_restorer(config, prior=tiny_base, **place))
    files = [p for p in (workspace.runs / "r").rglob("*") if p.is_file()]
    taken = sum(p.stat().st_size for p in files)
    assert foretold.needed == pytest.approx(taken, rel=0.01)


@pytest.mark.parametrize(
    ("keep", "save_every", "there", "more"),
    [(2, 10, 0, 3), (2, 10, 2, 1), (2, 10, 4, 0), (50, 10, 0, 11), (50, 1000, 0, 2)],
)
def test_how_many_checkpoints_are_still_to_come_at_once(
    keep: int, save_every: int, there: int, more: int, tmp_path: Path
) -> None:
    for number in range(there):
        (tmp_path / "checkpoints" / f"step-{number:06d}").mkdir(parents=True)
    config = PriorConfig(keep=keep, save_every=save_every, steps=100)
    assert preflight.new_checkpoints(config, tmp_path) == more


def test_second_copies_of_weights_are_not_copied_and_take_no_room(
    tmp_path: Path, tiny_base: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    before = copied_bytes(base, "prior")
    (base / "vae" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(bytes(1000))
    (base / "single_file.safetensors").write_bytes(bytes(1000))
    (base / "unet" / "more.bin").write_bytes(bytes(1000))
    assert copied_bytes(base, "prior") == before
    unet = sum(p.stat().st_size for p in (base / "unet").iterdir())
    assert copied_bytes(base, "restorer") == before + unet


def test_a_run_that_the_disk_can_not_hold_is_refused_before_the_first_step(
    filled: Filled, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    (fault,) = look(filled, tiny_base, size=64)
    assert "the disk has 0.00 GB left" in fault.wrong
    config = PriorConfig(base=str(tiny_base), size=64, steps=2)
    with pytest.raises(StorageError, match="smaller keep"):
        list(train_prior(config, store=filled[1], workspace=filled[0], name="p"))
    assert not (filled[0].runs / "p" / "checkpoints").exists()


def test_the_room_that_a_cache_will_take_is_known_before_anything_is_encoded(
    filled: Filled, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"base": str(tiny_base), "size": 64, "steps": 2, "keep": 1}
    config = resolve(PriorConfig(**settings), tiny=True)
    bare = preflight.room(
        filled[0].runs / "p",
        preflight.count_weights(config, tiny_base),
        copied=copied_bytes(tiny_base, "prior"),
        checkpoints=preflight.new_checkpoints(config, filled[0].runs / "p"),
    )
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, bare.needed + 1000))
    with pytest.raises(StorageError, match="model and cache need"):
        list(
            train_prior(
                config.model_copy(update={"cache": True}),
                store=filled[1],
                workspace=filled[0],
                name="p",
            )
        )
    assert not list(filled[0].cache.rglob("*.safetensors"))
