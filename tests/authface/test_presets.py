"""Settings from a file of their own: where it stands in the order, and what AuthFace brings."""

from __future__ import annotations

from pathlib import Path

import pytest

from authface.presets import preset_names, with_file
from authface.train import make_config
from data_manifests.errors import ConfigError
from training.config import PriorConfig, RestorerConfig, resolve

CONFIGS = Path(__file__).parents[2] / "configs"


def test_a_file_goes_before_the_workspace_and_options_before_the_file(tmp_path: Path) -> None:
    workspace = RestorerConfig(warmup=5, clip=2.0, lr=1e-3, facial={"width": 16, "gan_weight": 0.3})
    file = tmp_path / "run.toml"
    file.write_text("clip = 3.0\nlr = 1e-4\nsteps = 9\n[facial]\nwidth = 24\n")
    found = make_config(with_file(workspace, str(file)), {"steps": 7}, ["lr=1e-5"])
    assert (found.warmup, found.clip, found.steps, found.lr) == (5, 3.0, 7, 1e-5)
    assert (found.facial.width, found.facial.gan_weight) == (24, 0.3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sise = 64", r"run\.toml: unknown setting 'sise'; did you mean 'size'"),
        ("size = 100", r"run\.toml: .*multiple of 32"),
        ("size = = 2", r"run\.toml is no valid TOML"),
        ('recipe = "authface"', r"run\.toml: unknown setting 'recipe'"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        with_file(PriorConfig(), str(file))


def test_a_file_that_is_not_there_is_told_with_the_presets() -> None:
    with pytest.raises(ConfigError, match="no settings file prior-sdlx") as refused:
        with_file(PriorConfig(), "prior-sdlx")
    assert "prior-sdxl" in refused.value.todo


@pytest.mark.parametrize("name", sorted(p.stem for p in CONFIGS.glob("*.toml")))
def test_every_preset_is_a_whole_run_of_its_stage(name: str) -> None:
    stage, other = (PriorConfig, RestorerConfig)[:: 1 if name.startswith("prior") else -1]
    found = with_file(stage(), name)
    assert resolve(found, tiny=name.endswith("tiny")).steps == found.steps is not None
    with pytest.raises(ConfigError, match="unknown setting"):
        with_file(other(), name)
    assert name in preset_names()


def test_the_papers_presets_hold_what_the_paper_reports() -> None:
    """Liang et al. 2024, sections 4.1 and 4.2."""
    prior, restorer = (
        with_file(PriorConfig(), "prior-sdxl"),
        with_file(RestorerConfig(), "restorer-sdxl"),
    )
    assert (prior.lr, prior.batch, prior.steps, prior.size) == (5e-7, 96, 20_000, 1024)
    assert (restorer.lr, restorer.batch, restorer.size) == (2e-5, 48, 512)
    assert prior.lora_rank == 0
    for found in (prior, restorer):
        assert found == resolve(found, tiny=False)
