from __future__ import annotations

import json
import logging
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from data_manifests.errors import CheckpointError, StorageError
from training.checkpoint import Checkpoint, fault, newest, save

FILES = ("weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


def make(step: int) -> Checkpoint:
    g = torch.Generator().manual_seed(step)
    weights = {"unet.a": torch.randn(64, 8, generator=g), "unet.b": torch.randn((), generator=g)}
    moments = {"unet.a|exp_avg": torch.randn(64, 8, generator=g)}
    return Checkpoint(step, {"weights": weights, "optimizer": moments}, {"note": "x"})


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    save(tmp_path, make(3), keep=2)
    found = newest(tmp_path)
    assert found is not None
    assert (found.step, found.state) == (3, {"note": "x"})
    for group, tensors in make(3).tensors.items():
        assert found.tensors[group].keys() == tensors.keys()
        assert all(torch.equal(found.tensors[group][k], v) for k, v in tensors.items())


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "nothing") is None


def test_only_the_newest_are_kept_and_nothing_else_lies_about(tmp_path: Path) -> None:
    for step in (8, 9, 10, 11):
        save(tmp_path, make(step), keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000010", "step-000011"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_newest_one_is_passed_over_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: str
) -> None:
    save(tmp_path, make(1), keep=2)
    hurt(save(tmp_path, make(2), keep=2) / name, damage)
    with caplog.at_level(logging.WARNING, logger="training"):
        found = newest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert "step-000002 is damaged" in caplog.text


def lists_nothing(new: Path, _: Path) -> None:
    (new / "manifest.json").write_text("{}")


def lists_too_little(new: Path, _: Path) -> None:
    listed = json.loads((new / "manifest.json").read_text())
    del listed["optimizer.safetensors"]
    (new / "manifest.json").write_text(json.dumps(listed))


def lists_no_state(new: Path, _: Path) -> None:
    lists_too_little(new, _)
    (new / "optimizer.safetensors").unlink()
    listed = json.loads((new / "manifest.json").read_text())
    del listed["state.json"]
    (new / "manifest.json").write_text(json.dumps(listed))
    (new / "state.json").unlink()


def has_one_more(new: Path, old: Path) -> None:
    shutil.copy(old / "weights.safetensors", new / "more.safetensors")


def is_the_one_before(new: Path, old: Path) -> None:
    shutil.rmtree(new)
    shutil.copytree(old, new)


def is_a_file(new: Path, _: Path) -> None:
    shutil.rmtree(new)
    new.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lists_nothing, "not in manifest.json"),
        (lists_too_little, "optimizer.safetensors is not in manifest.json"),
        (lists_no_state, "does not list state.json"),
        (has_one_more, "more.safetensors is not in manifest.json"),
        (is_the_one_before, "it is of step 1"),
        (is_a_file, "manifest.json can't be read"),
    ],
)
def test_one_that_proves_itself_by_a_wrong_list_is_passed_over_too(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path, Path], None],
    why: str,
) -> None:
    old, new = (save(tmp_path, make(step), keep=2) for step in (1, 2))
    damage(new, old)
    with caplog.at_level(logging.WARNING, logger="training"):
        found = newest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert "step-000002 is damaged" in caplog.text
    assert why in caplog.text
    save(tmp_path, make(2), keep=2)
    assert fault(new) is None
    assert sorted(p.name for p in tmp_path.iterdir()) == [old.name, new.name]


def test_a_damaged_later_one_never_takes_the_place_of_a_whole_one(tmp_path: Path) -> None:
    """Counted among the newest, it would push out the checkpoint that was just saved."""
    save(tmp_path, make(2), keep=1)
    hurt(save(tmp_path, make(9), keep=2) / "weights.safetensors", "flip")
    (tmp_path / "step-notes").mkdir()
    save(tmp_path, make(4), keep=1)
    found = newest(tmp_path)
    assert found is not None
    assert found.step == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-000004", "step-notes"]


def test_if_all_are_damaged_it_says_so(tmp_path: Path) -> None:
    for step in (1, 2):
        hurt(save(tmp_path, make(step), keep=2) / "weights.safetensors", "flip")
    with pytest.raises(CheckpointError, match="Every checkpoint"):
        newest(tmp_path)


def test_a_whole_checkpoint_has_no_fault(tmp_path: Path) -> None:
    assert fault(save(tmp_path, make(1), keep=1)) is None


@contextmanager
def small_files_only() -> Iterator[None]:
    """Makes the system refuse files above 4 kB, as a full disk would.

    Only inside the block: the limit is the whole process's, and a test run that logs to a file
    would be refused its next line too.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_fails_leaves_the_ones_before_and_no_rest(tmp_path: Path) -> None:
    save(tmp_path, make(1), keep=1)
    large = Checkpoint(2, {"weights": {"unet.a": torch.zeros(9000)}, "optimizer": {}}, {})
    with small_files_only(), pytest.raises(StorageError, match="can't be written"):
        save(tmp_path, large, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-000001"]
    assert newest(tmp_path) is not None


def hurt(path: Path, damage: str) -> None:
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
