from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from data_manifests.errors import MissingExtra
from training.boards import open_boards
from training.config import PriorConfig
from training.estimate import Sizes, estimate
from training.journal import Step, open_journal, read_journal
from training.throughput import Gauge, make_gauge, peak_tflops
from training.tiny import UNET, VAE


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.0),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.0),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA L4", 121.0),
        ("NVIDIA L40", None),
        ("Tesla T4", None),
    ],
)
def test_a_device_is_known_by_its_name(name: str, peak: float | None) -> None:
    assert peak_tflops(name) == peak


def test_mfu_is_the_methods_own_work_over_the_peak() -> None:
    """Work that checkpointing does twice is none of the method's."""
    sizes = Sizes(UNET, VAE)
    config = PriorConfig(size=128, batch=2, loss="plain")
    saved = config.model_copy(update={"gradient_checkpointing": True, "peak_tflops": 2.0})
    gauge = make_gauge(saved, sizes, None)
    assert gauge is not None
    assert gauge.mfu(10) == pytest.approx(10 * estimate(config, sizes).flops / 2e12)
    pair = make_gauge(saved, sizes, None, devices=2)
    assert pair is not None
    assert pair.mfu(10) == pytest.approx(gauge.mfu(10) / 2)
    assert make_gauge(config, sizes, None) is None
    assert make_gauge(config, sizes, "Tesla T4") is None


def test_the_journal_tells_mfu_only_where_the_peak_is_known(tmp_path: Path) -> None:
    step = Step(1, 0.5, {}, 1e-3, 0.5, 4.0)
    with open_journal(tmp_path) as journal:
        journal.write(step)
        journal.gauge = Gauge(flops=2e12, peak=100e12)
        journal.write(step)
    first, second = read_journal(tmp_path)
    assert "mfu" not in first
    assert second["mfu"] == pytest.approx(0.08)
    assert second["samples_per_s"] == 4.0


def test_weights_and_biases_gets_figures_and_no_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline, below the run's folder; a resumed run goes on under the name it began with."""
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for number in (1, 2):
        with open_journal(tmp_path, wandb=True) as journal:
            journal.write(Step(number, 0.5, {"noise": 0.25}, 1e-3, 0.5, 4.0))
            journal.picture("grid", number, np.zeros((8, 8, 3), np.uint8), ("sample",))
    wandb.teardown()  # its own process writes the last lines
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert len({file.name for file in files}) == 1
    for file in files:
        assert b"samples_per_s" in file.read_bytes()
        assert b"grid" not in file.read_bytes()


def test_without_its_package_a_board_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"wandb.*-e '\.\[wandb\]'"):
        open_boards(tmp_path, tensorboard=False, wandb=True)
